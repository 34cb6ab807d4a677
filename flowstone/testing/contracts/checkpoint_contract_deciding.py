"""Asking for approval, and deciding about it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.status import Status
from flowstone.plugins.checkpoints import (
    ApprovalClosedError,
    ApprovalLostError,
    ApprovalNotFoundError,
    ApprovalRules,
    ApprovalStatus,
    CheckpointCoordinator,
    NotAnApproverError,
    Verdict,
)
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.checkpoint_scenario import (
    HOUR,
    CheckpointSuite,
    WaitingApproval,
    asked,
    new,
)
from flowstone.testing.contracts.store_runs import begun, handed_back, statuses, waited
from flowstone.testing.passing_time import advance


class DecidingContract(CheckpointSuite):
    """What is decided is decided once, and the materialization goes on with it."""

    async def test_what_was_asked_for_is_kept(
        self, app: FlowStone, approvals: CheckpointCoordinator
    ) -> None:
        asking = await asked(app)

        it = await approvals.get(asking.id)

        assert (it.status, it.message, it.value) == (ApprovalStatus.PENDING, "large", '{"n" : 1}')
        assert (it.asset, it.partition, it.run_id) == ("test.a", "", asking.run.id)
        assert (it.approvers, it.escalation_count) == (("risk",), 0)
        assert it.deadline_at == it.requested_at + 24 * HOUR
        assert it.remaining is not None
        assert timedelta(hours=23) < it.remaining <= 24 * HOUR
        assert (it.decided_by, it.decided_at, it.decided_value) == (None, None, None)

    async def test_a_materialization_asks_once(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        _, run, claim = await begun(app.store)
        first = await approvals.request(new(claim, run))

        again = await approvals.request(new(claim, run, message="another", value="2"))

        assert (again.id, again.message, again.value) == (first.id, "large", '{"n" : 1}')
        assert [it.id for it in await approvals.list()] == [first.id]

    async def test_a_claim_that_is_over_asks_for_nothing(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        worker, run, claim = await begun(app.store)
        await worker.settle(handed_back(claim))
        await worker.claims(1)

        with pytest.raises(ApprovalLostError):
            await approvals.request(new(claim, run))

        assert await approvals.find(claim.id) is None

    async def test_without_a_timeout_there_is_no_deadline(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        asking = await asked(app, ApprovalRules())
        await advance(app, "400d")

        it = await approvals.expire(asking.id)

        assert (it.status, it.deadline_at, it.remaining) == (ApprovalStatus.PENDING, None, None)

    @answers(379, 381)
    async def test_one_that_is_approved_says_by_whom_when_and_why(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        it = await approvals.decide(
            waiting.id, Verdict.APPROVE, by="ann", groups=["risk"], reason="fine"
        )

        assert (it.status, it.decided_by, it.reason) == (ApprovalStatus.APPROVED, "ann", "fine")
        assert it.decided_at is not None
        assert it.decided_at >= it.requested_at
        assert await approvals.get(waiting.id) == it
        assert await approvals.list() == []

    @answers(380)
    async def test_one_that_is_rejected_keeps_the_reason(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        it = await approvals.decide(waiting.id, Verdict.REJECT, by="risk", reason="nope")

        assert (it.status, it.decided_by, it.reason) == (ApprovalStatus.REJECTED, "risk", "nope")
        assert it.decided_at is not None

    async def test_another_value_can_be_approved_in_its_place(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        it = await approvals.decide(waiting.id, Verdict.APPROVE, by="risk", value='{"n" : 2}')

        assert (it.status, it.value, it.decided_value) == (
            ApprovalStatus.MODIFIED,
            '{"n" : 1}',
            '{"n" : 2}',
        )

    @pytest.mark.parametrize("verdict", Verdict)
    async def test_the_materialization_goes_on_with_the_decision(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval, verdict: Verdict
    ) -> None:
        assert await waiting.status() is Status.WAITING

        await approvals.decide(waiting.id, verdict, by="risk")

        assert await waiting.status() is Status.READY
        claim = (await waiting.worker.claim())["a"]
        assert claim.wake is not None
        assert not claim.wake.timed_out

    async def test_one_that_comes_before_the_wait_is_not_lost(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        worker, run, claim = await begun(app.store)
        await approvals.request(new(claim, run))

        await approvals.decide(claim.id, Verdict.APPROVE, by="risk")
        await worker.settle(waited(claim))

        assert (await statuses(app.store, run))["a"] is Status.READY

    @answers(382)
    async def test_what_nobody_asked_for_cannot_be_decided(
        self, approvals: CheckpointCoordinator
    ) -> None:
        with pytest.raises(ApprovalNotFoundError, match="there is no approval 4711"):
            await approvals.get(4711)
        with pytest.raises(ApprovalNotFoundError):
            await approvals.decide(4711, Verdict.APPROVE, by="ann")
        with pytest.raises(ApprovalNotFoundError):
            await approvals.escalate(4711, by="ann", to=["cfo"])
        with pytest.raises(ApprovalNotFoundError):
            await approvals.expire(4711)

    async def test_the_same_once_more_changes_nothing(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        first = await approvals.decide(waiting.id, Verdict.APPROVE, by="risk", reason="fine")
        await waiting.worker.claim()

        again = await approvals.decide(waiting.id, Verdict.APPROVE, by="risk", reason="finer")

        assert again == first
        assert await waiting.status() is Status.RUNNING

    @answers(394)
    @pytest.mark.parametrize(
        ("verdict", "by", "value"),
        [
            (Verdict.REJECT, "risk", None),
            (Verdict.APPROVE, "risk", "2"),
            (Verdict.APPROVE, "ann", None),
        ],
        ids=["otherwise", "another value", "somebody else"],
    )
    async def test_what_is_decided_is_final(
        self,
        approvals: CheckpointCoordinator,
        waiting: WaitingApproval,
        verdict: Verdict,
        by: str,
        value: str | None,
    ) -> None:
        first = await approvals.decide(waiting.id, Verdict.APPROVE, by="risk")

        with pytest.raises(ApprovalClosedError, match="was approved by risk") as caught:
            await approvals.decide(waiting.id, verdict, by=by, groups=["risk"], value=value)
        with pytest.raises(ApprovalClosedError):
            await approvals.escalate(waiting.id, by="risk", to=["cfo"])

        assert caught.value.approval == first == await approvals.get(waiting.id)

    async def test_only_approvers_decide(
        self, approvals: CheckpointCoordinator, waiting: WaitingApproval
    ) -> None:
        before = await approvals.get(waiting.id)

        with pytest.raises(NotAnApproverError, match=r"eve .* may not decide .*: risk may"):
            await approvals.decide(waiting.id, Verdict.APPROVE, by="eve", groups=["sales"])
        with pytest.raises(NotAnApproverError):
            await approvals.escalate(waiting.id, by="eve", to=["eve"])

        after = await approvals.get(waiting.id)
        assert replace(after, remaining=None) == replace(before, remaining=None)
        assert await waiting.status() is Status.WAITING

    async def test_anybody_decides_where_nobody_is_named(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        asking = await asked(app, ApprovalRules())

        it = await approvals.decide(asking.id, Verdict.REJECT, by="eve")

        assert it.decided_by == "eve"
