"""What nobody decides in time is rejected, approved, or passed on."""

import pytest

from flowstone import RunFailedError, RunWaiting
from flowstone.plugins.checkpoints import (
    ApprovalExpiredError,
    ApprovalStatus,
    approve,
    escalate,
    get_approval,
    list_approvals,
)
from tests.application.conftest import AppOf
from tests.application.stage import (
    Stage,
    drain,
    statuses,
)
from tests.plugins.checkpoints.asking import asked, result
from tests.plugins.checkpoints.desk import Desk


class TestDeadlines:
    async def test_one_that_nobody_decides_is_rejected_by_its_deadline(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        desk = Desk(timeout="2d")
        app = await app_of(desk.pipeline)
        run_id, _ = await asked(app, desk)

        await stage.advance("47h")
        await drain(app)
        assert (await statuses(app, run_id))["trade"] == "waiting"
        await stage.advance("2h")

        with pytest.raises(RunFailedError, match="expired: nobody decided in time") as caught:
            await result(app, run_id)
        assert isinstance(caught.value.__cause__, ApprovalExpiredError)
        (it,) = await list_approvals(app, is_open=False)
        assert (it.status, it.decided_by) == (ApprovalStatus.EXPIRED, None)

    async def test_or_approved(self, app_of: AppOf, stage: Stage) -> None:
        desk = Desk(timeout="2d", on_timeout="approve")
        app = await app_of(desk.pipeline)
        run_id, _ = await asked(app, desk)
        await stage.advance("49h")

        assert await result(app, run_id) == "tea for 5000"

    async def test_or_passed_on_and_waits_for_others_as_long_again(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        desk = Desk(timeout="2d", on_timeout="escalate", escalate_to=["cfo"], approvers=["risk"])
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        await stage.advance("49h")
        with pytest.raises(RunWaiting, match="cfo"):
            await result(app, run_id)
        await stage.advance("47h")
        await drain(app)
        await approve(app, it.id, by="cfo")

        assert await result(app, run_id) == "tea for 5000"
        assert (await get_approval(app, it.id)).escalation_count == 1

    async def test_who_passes_it_on_may_set_another_deadline(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        desk = Desk(timeout="2d")
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)
        await escalate(app, it.id, by="ann", to=["cfo"], timeout="1h")
        with pytest.raises(RunWaiting, match="cfo"):
            await result(app, run_id)

        await stage.advance("2h")

        with pytest.raises(RunFailedError, match="nobody decided in time"):
            await result(app, run_id)

    async def test_or_a_later_one(self, app_of: AppOf, stage: Stage) -> None:
        desk = Desk(timeout="1h")
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)
        await escalate(app, it.id, by="ann", to=["cfo"], timeout="2d")
        await drain(app)

        await stage.advance("47h")
        await drain(app)

        await approve(app, it.id, by="cfo")
        assert await result(app, run_id) == "tea for 5000"
