"""What can be seen of approvals, and what notifiers are to be told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.plugins.checkpoints import (
    ApprovalClosedError,
    ApprovalEvent,
    ApprovalRules,
    ApprovalStatus,
    CheckpointCoordinator,
    Verdict,
)
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.checkpoint_scenario import (
    A_DAY,
    HOUR,
    CheckpointSuite,
    WaitingApproval,
    asked,
    settled,
)
from flowstone.testing.passing_time import advance


class TellingContract(CheckpointSuite):
    """Lists, remarks, notices, reminders."""

    async def test_lists_are_newest_first_and_go_on(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        ids = [(await asked(app)).id for _ in range(3)]

        page = await approvals.list(limit=2)
        rest = await approvals.list(limit=2, before=page[-1].id)

        assert [it.id for it in (*page, *rest)] == [*reversed(ids)]

    async def test_lists_are_of_an_asset_of_an_approver_of_what_is_open(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        risky, free = await asked(app), await asked(app, ApprovalRules())
        await approvals.decide(risky.id, Verdict.REJECT, by="risk")

        async def ids(**given: str | bool | None) -> list[int]:
            return [it.id for it in await approvals.list(**given)]  # type: ignore[arg-type]  # by name

        assert await ids() == [free.id]
        assert await ids(is_open=False) == [risky.id]
        assert await ids(is_open=None) == [free.id, risky.id]
        assert await ids(is_open=None, approver="risk") == [free.id, risky.id]
        assert await ids(is_open=None, approver="sales") == [free.id]
        assert await ids(is_open=None, asset="test.b") == []

    async def test_a_run_tells_of_its_approvals(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        assert await approvals.remarks(waiting.run.id) == {
            waiting.id: "to be approved by risk: large"
        }

        await approvals.decide(waiting.id, Verdict.REJECT, by="risk", reason="nope")

        assert await approvals.remarks(waiting.run.id) == {waiting.id: "rejected by risk: nope"}

    @answers(385)
    async def test_what_happens_is_noted_with_it(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        await approvals.escalate(waiting.id, by="risk", to=["cfo"])
        await approvals.decide(waiting.id, Verdict.APPROVE, by="cfo")

        notices = await approvals.take_notices()

        assert [(it.event, it.approval.id, it.attempt) for it in notices] == [
            (ApprovalEvent.REQUESTED, waiting.id, 1),
            (ApprovalEvent.ESCALATED, waiting.id, 1),
            (ApprovalEvent.APPROVED, waiting.id, 1),
        ]
        assert notices[0].approval.status is ApprovalStatus.APPROVED

    async def test_a_refused_or_repeated_decision_is_not_noted(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")
        await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")
        with pytest.raises(ApprovalClosedError):
            await approvals.decide(waiting.id, Verdict.REJECT, by="risk")

        assert len(await approvals.take_notices()) == 2

    async def test_what_is_taken_comes_again_until_it_issettled(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval, app: FlowStone
    ) -> None:
        (first,) = await approvals.take_notices()
        assert await approvals.take_notices() == []
        pause = await approvals.next_notice()
        assert pause is not None
        assert timedelta() < pause <= timedelta(seconds=5)
        await approvals.settle_notice(first.id, told=["log"], is_done=False)
        await advance(app, "6s")

        (again,) = await approvals.take_notices()
        await approvals.settle_notice(again.id, told=["log", "mail"], is_done=True)
        await advance(app, "1d")

        assert (again.id, again.attempt, [*again.told]) == (first.id, 2, ["log"])
        assert await approvals.take_notices() == []
        assert await approvals.next_notice() is None

    async def test_reminders_come_in_time_and_not_once_it_is_decided(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        asking = await asked(app, replace(A_DAY, reminders=(2 * HOUR, HOUR)))
        await settled(approvals)
        pause = await approvals.next_notice()
        assert pause is not None
        assert 21 * HOUR < pause <= 22 * HOUR

        await advance(app, 22 * HOUR)
        reminded = await settled(approvals)
        await approvals.decide(asking.id, Verdict.APPROVE, by="risk")
        await advance(app, 2 * HOUR)
        decided = await settled(approvals)

        assert reminded == [ApprovalEvent.REMINDER]
        assert decided == [ApprovalEvent.APPROVED]

    async def test_another_deadline_has_reminders_of_its_own(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        asking = await asked(app, replace(A_DAY, reminders=(HOUR,)))
        await advance(app, 20 * HOUR)
        await approvals.escalate(asking.id, by="risk", to=["cfo"])
        await settled(approvals)

        await advance(app, 22 * HOUR)
        assert await settled(approvals) == []
        await advance(app, HOUR)
        assert await settled(approvals) == [ApprovalEvent.REMINDER]
