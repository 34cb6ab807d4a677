"""Approvals that are passed on, whose deadline passes, whose materialization ends."""

from dataclasses import replace

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.status import Status
from flowstone.plugins.checkpoints import (
    ApprovalClosedError,
    ApprovalStatus,
    CheckpointCoordinator,
    NotAnApproverError,
    OnTimeout,
    Verdict,
)
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.checkpoint_scenario import (
    A_DAY,
    ESCALATING,
    HOUR,
    CheckpointSuite,
    WaitingApproval,
    asked,
    new,
)
from flowstone.testing.contracts.store_runs import begun, succeeded
from flowstone.testing.passing_time import advance


class EndingContract(CheckpointSuite):
    """What happens when nobody decides."""

    @answers(394)
    async def test_one_that_is_passed_on_is_for_others(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        it = await approvals.escalate(
            waiting.id, by="risk", to=["cfo"], reason="too large for me", timeout=HOUR
        )

        assert (it.status, it.escalation_count, it.escalated_by) == (
            ApprovalStatus.ESCALATED,
            1,
            "risk",
        )
        assert (it.approvers, it.reason) == (("cfo",), "too large for me")
        assert it.escalated_at is not None
        assert it.deadline_at == it.escalated_at + HOUR
        with pytest.raises(NotAnApproverError):
            await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")
        decided = await approvals.decide(waiting.id, Verdict.APPROVE, by="cfo")
        assert (decided.status, decided.escalation_count) == (ApprovalStatus.APPROVED, 1)

    async def test_passing_on_lets_it_wait_anew(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        await approvals.escalate(waiting.id, by="risk", to=["cfo"])

        assert await waiting.status() is Status.READY

    async def test_it_is_passed_on_once(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        await approvals.escalate(waiting.id, by="risk", to=["cfo"])
        again = await approvals.escalate(waiting.id, by="risk", to=["cfo"])
        further = await approvals.escalate(waiting.id, by="cfo", to=["board"])

        assert (again.escalation_count, further.escalation_count) == (1, 2)

    @answers(387)
    async def test_before_its_deadline_nothing_happens(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval, app: FlowStone
    ) -> None:
        await advance(app, 23 * HOUR)

        it = await approvals.expire(waiting.id)

        assert it.status is ApprovalStatus.PENDING
        assert it.remaining is not None
        assert it.remaining <= HOUR

    @answers(386)
    @pytest.mark.parametrize(
        ("then", "status"),
        [
            (OnTimeout.REJECT, ApprovalStatus.EXPIRED),
            (OnTimeout.APPROVE, ApprovalStatus.APPROVED),
        ],
    )
    async def test_after_it_what_was_said_happens(
        self,
        approvals: CheckpointCoordinator,
        app: FlowStone,
        then: OnTimeout,
        status: ApprovalStatus,
    ) -> None:
        asking = await asked(app, replace(A_DAY, on_timeout=then))
        await advance(app, 24 * HOUR)

        it = await approvals.expire(asking.id)

        assert (it.status, it.decided_by, it.reason) == (status, None, "nobody decided in time")
        assert it.decided_at is not None
        assert await approvals.expire(asking.id) == it

    async def test_after_it_nobody_decides_although_nobody_has_looked(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval, app: FlowStone
    ) -> None:
        await advance(app, 25 * HOUR)

        with pytest.raises(ApprovalClosedError, match="was expired: nobody decided in time"):
            await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")

    @answers(387)
    async def test_what_is_decided_does_not_expire(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval, app: FlowStone
    ) -> None:
        await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")
        await advance(app, 25 * HOUR)

        assert (await approvals.expire(waiting.id)).status is ApprovalStatus.APPROVED

    async def test_a_deadline_passes_it_on_once_and_then_it_expires(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        asking = await asked(app, ESCALATING)
        await advance(app, 25 * HOUR)

        first = await approvals.expire(asking.id)
        early = await approvals.expire(asking.id)
        await advance(app, 25 * HOUR)
        last = await approvals.expire(asking.id)

        assert (first.status, first.approvers) == (ApprovalStatus.ESCALATED, ("cfo",))
        assert (first.escalation_count, first.escalated_by) == (1, None)
        assert first.remaining is not None
        assert first.remaining > 23 * HOUR
        assert early.status is ApprovalStatus.ESCALATED
        assert last.status is ApprovalStatus.EXPIRED

    async def test_who_has_it_after_a_deadline_decides_although_nobody_has_looked(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        asking = await asked(app, ESCALATING)
        await advance(app, 25 * HOUR)

        with pytest.raises(NotAnApproverError):
            await approvals.decide(asking.id, Verdict.APPROVE, by="risk")
        it = await approvals.decide(asking.id, Verdict.APPROVE, by="cfo")

        assert (it.status, it.escalation_count) == (ApprovalStatus.APPROVED, 1)

    async def test_a_run_that_is_cancelled_takes_it_along(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval, app: FlowStone
    ) -> None:
        await app.store.cancel_run(waiting.run.id)

        it = await approvals.get(waiting.id)

        assert (it.status, it.decided_by) == (ApprovalStatus.CANCELLED, None)
        assert it.decided_at is not None
        assert await approvals.list() == []
        with pytest.raises(ApprovalClosedError, match="was cancelled"):
            await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")

    async def test_so_does_an_attempt_that_ends_without_waiting(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        worker, run, claim = await begun(app.store)
        await approvals.request(new(claim, run))

        await worker.settle(succeeded(claim))

        assert (await approvals.get(claim.id)).status is ApprovalStatus.CANCELLED

    async def test_an_end_leaves_what_was_decided(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")
        claim = (await waiting.worker.claim())["a"]
        await waiting.worker.settle(succeeded(claim))

        assert (await approvals.get(waiting.id)).status is ApprovalStatus.APPROVED
