"""What tests of applications with approvals are written with."""

import pytest

from flowstone import RunFailedError
from flowstone.plugins.checkpoints import ApprovalStatus
from flowstone.testing import Drained, advance, approve, drain, open_approval, reject
from flowstone.testing.applications import Applications
from tests.plugins.checkpoints.desk import Desk, Trade

pytestmark = [pytest.mark.flowstone_both, pytest.mark.postgres]


async def test_what_an_asset_waits_for_is_approved_by_its_name(
    flowstone_app: Applications,
) -> None:
    desk = Desk(approvers=["risk"])
    async with flowstone_app(desk.pipeline) as app:
        handle = await app.enqueue(desk.booked, partition="x")
        await drain(app)
        assert (await open_approval(app, desk.trade)).message == "large"

        it = await approve(app, desk.trade, partition="x", value=Trade(3))

        assert it.status is ApprovalStatus.MODIFIED
        await drain(app)
        assert await handle.result() == "tea for 3"


async def test_or_rejected(flowstone_app: Applications) -> None:
    desk = Desk()
    async with flowstone_app(desk.pipeline) as app:
        handle = await app.enqueue(desk.booked)
        await drain(app)

        await reject(app, "desk.trade", by="ann", reason="no")

        await drain(app)
        with pytest.raises(RunFailedError, match="rejected by ann: no"):
            await handle.result()


async def test_days_pass_at_once(flowstone_app: Applications) -> None:
    desk = Desk(timeout="2d")
    async with flowstone_app(desk.pipeline) as app:
        await app.enqueue(desk.trade)
        assert await drain(app) == Drained(succeeded=1, waiting=1)

        await advance(app, "2d")

        assert await drain(app) == Drained(failed=1)


async def test_who_waits_for_nothing_is_told_what_does(flowstone_app: Applications) -> None:
    desk = Desk()
    async with flowstone_app(desk.pipeline) as app:
        await app.enqueue(desk.trade)
        with pytest.raises(AssertionError, match=r"no approval of desk\.trade .*Open:\n  none"):
            await approve(app, desk.trade)
        await drain(app)
        with pytest.raises(AssertionError, match=r"Open:\n  approval \d+ of desk\.trade.*: large"):
            await reject(app, desk.trade, partition="y")
