"""Assets that wait for somebody's word, from the request to the end of their run."""

from typing import Any

import pytest

from flowstone import FlowStone, Pipeline, Retry, RunFailedError, RunWaiting, Skip
from flowstone.core.errors import (
    DefinitionError,
    InvalidOptionError,
    RunCancelledError,
)
from flowstone.core.retention import Retention
from flowstone.plugins.checkpoints import (
    ApprovalClosedError,
    ApprovalNotFoundError,
    ApprovalRejectedError,
    ApprovalStatus,
    NeedsApproval,
    approval,
    approve,
    escalate,
    get_approval,
    held_value,
    list_approvals,
    reject,
)
from tests.application.conftest import AppOf
from tests.application.stage import (
    Heard,
    Stage,
    drain,
    statuses,
    steps,
    working,
)
from tests.plugins.checkpoints.asking import asked, result
from tests.plugins.checkpoints.desk import Desk, Trade


class TestAsking:
    async def test_what_needs_no_approval_is_stored_at_once(self, app_of: AppOf) -> None:
        desk = Desk(10)
        app = await app_of(desk.pipeline)

        assert await app.run(desk.booked) == "tea for 10"
        assert await list_approvals(app, is_open=None) == []

    @pytest.mark.conformance(122, 384)
    async def test_a_value_that_needs_it_is_held_and_the_run_waits(self, app_of: AppOf) -> None:
        desk = Desk(approvers=["risk"], timeout="2d")
        app = await app_of(desk.pipeline)

        with pytest.raises(RunWaiting, match=r"waits: desk\.trade for approval.*risk") as caught:
            await app.run(desk.booked)

        assert await statuses(app, caught.value.run_id) == {
            "order": "succeeded",
            "trade": "waiting",
            "booked": "pending",
        }
        assert not await app.exists(desk.trade)
        (it,) = await list_approvals(app, approver="risk")
        assert (it.asset, it.message, it.approvers) == ("desk.trade", "large", ("risk",))
        assert held_value(app, it) == Trade(5_000)

    async def test_other_outcomes_stay_what_they_are(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        @approval()
        async def nothing() -> int | NeedsApproval[int] | Skip:
            return Skip("closed")

        app = await app_of(p)
        handle = await app.enqueue(nothing)
        await drain(app)

        assert await statuses(app, handle.run_id) == {"nothing": "skipped"}

    async def test_what_cannot_be_stored_is_not_asked_for(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        @approval()
        async def odd() -> NeedsApproval[object]:
            return NeedsApproval(float("nan"))

        app = await app_of(p)

        with pytest.raises(RunFailedError, match="nan"):
            await app.run(odd)
        assert await list_approvals(app, is_open=None) == []

    async def test_odd_texts_harm_nobody(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        @approval()
        def odd() -> NeedsApproval[str]:
            return NeedsApproval("x", "a\0b\ud800" + "long" * 100_000)

        app = await app_of(p)
        with pytest.raises(RunWaiting):
            await app.run(odd)
        (it,) = await list_approvals(app)

        assert "\0" not in it.message
        assert len(it.message) < 20_000
        decided = await reject(app, it.id, by="ann", reason="\0\ud800")
        assert decided.reason.isprintable()

    async def test_none_is_a_value_that_can_be_held(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        @approval()
        def empty() -> NeedsApproval[None]:
            return NeedsApproval(None)

        app = await app_of(p)
        with pytest.raises(RunWaiting) as caught:
            await app.run(empty)
        await approve(app, (await list_approvals(app))[0].id, by="ann")

        assert await result(app, caught.value.run_id) is None


class TestDeciding:
    async def test_the_held_value_goes_on_when_it_is_approved(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        await approve(app, it.id, by="ann", reason="fine")

        assert await result(app, run_id) == "tea for 5000"
        assert await app.get(desk.trade) == Trade(5_000)
        assert desk.priced == 1

    async def test_another_value_goes_on_in_its_place(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        decided = await approve(app, it.id, by="ann", value=Trade(900))

        assert decided.status is ApprovalStatus.MODIFIED
        assert await result(app, run_id) == "tea for 900"

    async def test_a_value_of_another_type_is_refused_and_nothing_decided(
        self, app_of: AppOf
    ) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        _, it = await asked(app, desk)

        with pytest.raises(InvalidOptionError, match=r"value=.* is not what desk\.trade returns"):
            await approve(app, it.id, by="ann", value={"sum": 3})

        assert (await get_approval(app, it.id)).status is ApprovalStatus.PENDING

    async def test_the_asset_fails_with_the_reason_when_it_is_rejected(self, app_of: AppOf) -> None:
        desk = Desk(options={"retry": Retry(5, base=0)})
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        await reject(app, it.id, by="ann", reason="too large")

        with pytest.raises(RunFailedError, match=r"rejected by ann: too large") as caught:
            await result(app, run_id)
        cause = caught.value.__cause__
        assert isinstance(cause, ApprovalRejectedError)
        assert (cause.by, cause.reason, cause.approval_id) == ("ann", "too large", it.id)
        assert await statuses(app, run_id) == {
            "order": "succeeded",
            "trade": "failed",
            "booked": "upstream_failed",
        }
        trade = (await steps(app, run_id))["trade"]
        assert (desk.priced, trade.attempt) == (1, 1), "no is no: it is not tried again"

    async def test_another_process_may_decide_and_the_run_ends(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        elsewhere = await app_of(plugins=["checkpoints"])
        run_id, it = await asked(app, desk)
        running = app.handle(run_id)

        async with working(app):
            await approve(elsewhere, it.id, by="ann")

            assert await running.result(60) == "tea for 5000"

    async def test_a_new_run_asks_anew(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        _, first = await asked(app, desk)
        await reject(app, first.id, by="ann")
        await drain(app)

        _, second = await asked(app, desk)

        assert second.id != first.id

    @pytest.mark.parametrize(
        "given",
        [{"by": ""}, {"by": " "}, {"by": "a\0"}, {"by": 7}, {"by": "ann", "groups": "risk"}],
        ids=str,
    )
    async def test_who_decides_has_to_be_named(self, app_of: AppOf, given: Any) -> None:
        app = await app_of(plugins=["checkpoints"])

        with pytest.raises(InvalidOptionError, match=r"by=|groups="):
            await approve(app, 1, **given)
        with pytest.raises(InvalidOptionError, match=r"by=|groups="):
            await reject(app, 1, **given)
        with pytest.raises(InvalidOptionError, match=r"by=|groups="):
            await escalate(app, 1, to=["cfo"], **given)

    async def test_nobody_is_no_one_to_pass_it_on_to(self, app_of: AppOf) -> None:
        app = await app_of(plugins=["checkpoints"])

        with pytest.raises(InvalidOptionError, match="leaves nobody to"):
            await escalate(app, 1, by="ann", to=[])
        with pytest.raises(InvalidOptionError, match="leaves nobody time"):
            await escalate(app, 1, by="ann", to=["cfo"], timeout="0s")

    async def test_what_a_run_had_asked_for_is_closed_with_it(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        await app.handle(run_id).cancel()

        assert (await get_approval(app, it.id)).status is ApprovalStatus.CANCELLED
        with pytest.raises(ApprovalClosedError, match="was cancelled"):
            await approve(app, it.id, by="ann")
        with pytest.raises(RunCancelledError):
            await result(app, run_id)


class TestTelling:
    @pytest.mark.conformance(385)
    async def test_telemetry_is_told_of_the_request_and_the_decision(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        heard = Heard(app)
        run_id, it = await asked(app, desk)
        await approve(app, it.id, by="ann")
        await result(app, run_id)

        told = [(name, facts) for name, _, facts in heard.events if name.startswith("approval.")]
        where = {"asset": "desk.trade", "partition": "", "run_id": run_id, "approval_id": it.id}
        assert told == [
            ("approval.requested", {**where, "status": "pending", "by": None}),
            ("approval.approved", {**where, "status": "approved", "by": "ann"}),
        ]

    async def test_and_of_what_its_deadline_did(self, app_of: AppOf, stage: Stage) -> None:
        desk = Desk(timeout="1h", on_timeout="escalate", escalate_to=["cfo"])
        app = await app_of(desk.pipeline)
        await asked(app, desk)
        heard = Heard(app)

        for _ in range(2):
            await stage.advance("2h")
            await drain(app)

        assert [name for name in heard.names if name.startswith("approval.")] == [
            "approval.escalated",
            "approval.expired",
        ]


class TestRetention:
    async def test_an_approval_goes_with_its_materialization(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)
        await reject(app, it.id, by="ann")
        with pytest.raises(RunFailedError):
            await result(app, run_id)

        await stage.advance("40d")
        while not (await app.store.prune(Retention(runs="30d", failed="30d"))).is_done:
            pass

        with pytest.raises(ApprovalNotFoundError):
            await get_approval(app, it.id)


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"timeout": "soon"}, "timeout='soon' is not a duration"),
            ({"timeout": 0}, "leaves nobody time"),
            ({"timeout": "1d", "on_timeout": "ignore"}, "on_timeout='ignore' must be one of"),
            ({"on_timeout": "approve"}, 'on_timeout="approve" needs a deadline'),
            ({"reminders": ["1h"]}, "reminders needs a deadline"),
            ({"timeout": "1d", "reminders": ["1d"]}, "must be shorter than timeout"),
            ({"timeout": "1d", "on_timeout": "escalate"}, "go together"),
            ({"timeout": "1d", "escalate_to": ["cfo"]}, "go together"),
            ({"approvers": "risk"}, "must be a list of names"),
            ({"approvers": ["risk", ""]}, "must be a list of names"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_refused_where_it_is_written(
        self, given: Any, message: str
    ) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            approval(**given)

    def test_a_child_process_cannot_ask(self) -> None:
        p = Pipeline("p")
        p.asset(executor="process")(approval()(_in_a_process))

        with pytest.raises(DefinitionError, match="a child process returns values") as caught:
            FlowStone(p)
        assert "_in_a_process" in str(caught.value)


def _in_a_process() -> int | NeedsApproval[int]:
    return NeedsApproval(1)
