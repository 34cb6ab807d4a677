"""Approvals and many at once: each gets the answer that it would get alone."""

import asyncio
from collections.abc import Mapping, Sequence

from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import Claim
from flowstone.core.status import Status
from flowstone.plugins.checkpoints import (
    Approval,
    ApprovalClosedError,
    ApprovalEvent,
    ApprovalLostError,
    ApprovalNotFoundError,
    ApprovalRules,
    ApprovalStatus,
    CheckpointCoordinator,
    NotAnApproverError,
    OnTimeout,
    Verdict,
)
from flowstone.testing.contracts.checkpoint_scenario import (
    A_DAY,
    ESCALATING,
    HOUR,
    CheckpointSuite,
    new,
    settled,
)
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    handed_back,
    new_run,
    new_worker,
    statuses,
    waited,
)
from flowstone.testing.passing_time import advance

NAMES = "abcdefghijkl"
HURRIED = ApprovalRules(timeout=HOUR, on_timeout=OnTimeout.APPROVE)
REMINDED = ApprovalRules(timeout=3 * HOUR, approvers=("risk", "cfo"), reminders=(HOUR, 2 * HOUR))


class ApprovalCrowdContract(CheckpointSuite):
    """Whatever is done for many together is done for each."""

    async def test_of_many_that_ask_at_once_each_has_its_own(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        worker, run, claims = await _crowd(app)
        await approvals.request(new(claims["a"], run, message="before"))
        await worker.settle(handed_back(claims["b"]))
        await settled(approvals)
        asked = [
            new(claims["a"], run, message="again"),
            new(claims["b"], run),
            *(new(claims[it], run, HURRIED, message=it, value=f'"{it}"') for it in "cdef"),
            new(claims["c"], run, message="twice"),
            *(new(claims[it], run, REMINDED, message=it) for it in "ghijkl"),
        ]

        found = await asyncio.gather(*map(approvals.request, asked), return_exceptions=True)

        again, lost, *others = found
        assert isinstance(again, Approval)
        assert again.message == "before"
        assert isinstance(lost, ApprovalLostError)
        c, *def_, twice = _approvals(others[:5])
        assert twice.id == c.id
        assert {c.message, twice.message} <= {"c", "twice"}
        assert [(it.id, it.message, it.value) for it in def_] == [
            (claims[it].id, it, f'"{it}"') for it in "def"
        ]
        reminded = _approvals(others[5:])
        assert [(it.message, it.approvers) for it in reminded] == [
            (it, REMINDED.approvers) for it in "ghijkl"
        ]
        assert all(it.deadline_at == it.requested_at + 3 * HOUR for it in reminded)
        assert len(await approvals.list()) == 11
        assert await settled(approvals) == [ApprovalEvent.REQUESTED] * 10
        await advance(app, HOUR)
        assert await settled(approvals) == [ApprovalEvent.REMINDER] * 6

    async def test_of_many_decisions_at_once_each_has_its_own_answer(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        worker, run, claims = await _crowd(app)
        rules = {"h": HURRIED, "e": ESCALATING}
        await asyncio.gather(
            *(
                approvals.request(new(it, run, rules.get(name, A_DAY)))
                for name, it in claims.items()
            )
        )
        # `l` still runs when it is decided.
        await worker.settle(*(waited(it) for name, it in claims.items() if name != "l"))
        await approvals.decide(claims["c"].id, Verdict.APPROVE, by="risk")
        await advance(app, HOUR)
        await settled(approvals)

        async def said(
            name: str, verdict: Verdict = Verdict.APPROVE, by: str = "risk", **given: str
        ) -> Approval:
            id_ = claims[name].id if name in claims else 4711
            groups = [given.pop("group")] if "group" in given else []
            return await approvals.decide(id_, verdict, by=by, groups=groups, **given)

        found = await asyncio.gather(
            said("a", by="ann", group="risk", reason="fine"),
            said("b", Verdict.REJECT, reason="nope"),
            said("c"),
            said("c", Verdict.REJECT),
            said("d", value="2"),
            said("unknown"),
            said("e", by="eve"),
            said("e", by="eve", group="sales"),
            said("h", Verdict.REJECT),
            said("i"),
            said("i"),
            said("j"),
            said("j", Verdict.REJECT),
            said("k", by="eve"),
            said("k"),
            said("l"),
            return_exceptions=True,
        )

        a, b, repeated, otherwise, modified, unknown = found[:6]
        assert [(it.status, it.decided_by, it.reason) for it in _approvals([a, b])] == [
            (ApprovalStatus.APPROVED, "ann", "fine"),
            (ApprovalStatus.REJECTED, "risk", "nope"),
        ]
        assert _approvals([repeated])[0].status is ApprovalStatus.APPROVED
        assert isinstance(otherwise, ApprovalClosedError)
        assert _approvals([modified])[0].decided_value == "2"
        assert isinstance(unknown, ApprovalNotFoundError)
        assert [type(it) for it in found[6:8]] == [NotAnApproverError] * 2
        assert isinstance(found[8], ApprovalClosedError), "its time was up before"
        assert found[8].approval.status is ApprovalStatus.APPROVED
        assert len({it.decided_at for it in _approvals(found[9:11])}) == 1
        assert sorted(type(it).__name__ for it in found[11:13]) == [
            "Approval",
            "ApprovalClosedError",
        ]
        assert isinstance(found[13], NotAnApproverError | ApprovalClosedError)
        assert [it.status for it in _approvals(found[14:])] == [ApprovalStatus.APPROVED] * 2
        assert {it.id for it in await approvals.list()} == {claims[it].id for it in "efg"}
        stood = await statuses(app.store, run)
        assert {name for name, it in stood.items() if it is Status.WAITING} == set("efgh")
        assert {name for name, it in stood.items() if it is Status.READY} == set("abcdijk")
        told = await settled(approvals)
        assert sorted(told) == sorted(
            [ApprovalEvent.APPROVED] * 5
            + [await _event(approvals, claims["j"])]
            + [ApprovalEvent.REJECTED, ApprovalEvent.MODIFIED]
        )

    async def test_of_many_deadlines_that_pass_at_once_each_is_done_once(
        self, approvals: CheckpointCoordinator, app: FlowStone
    ) -> None:
        _, run, claims = await _crowd(app)
        rules = {"a": HURRIED, "b": HURRIED, "c": A_DAY, "d": ESCALATING, "e": ApprovalRules()}
        await asyncio.gather(
            *(approvals.request(new(claims[name], run, it)) for name, it in rules.items())
        )
        await approvals.decide(claims["b"].id, Verdict.REJECT, by="ann")
        await advance(app, 25 * HOUR)
        await settled(approvals)

        asked = [*(claims[it].id for it in "abcdea"), 4711]
        found = await asyncio.gather(*map(approvals.expire, asked), return_exceptions=True)

        assert isinstance(found.pop(), ApprovalNotFoundError)
        assert [it.status for it in _approvals(found)] == [
            ApprovalStatus.APPROVED,
            ApprovalStatus.REJECTED,
            ApprovalStatus.EXPIRED,
            ApprovalStatus.ESCALATED,
            ApprovalStatus.PENDING,
            ApprovalStatus.APPROVED,
        ]
        assert _approvals(found)[3].approvers == ("cfo",)
        assert sorted(await settled(approvals)) == ["approved", "escalated", "expired"]


async def _crowd(app: FlowStone) -> tuple[Worker, SmallRun, Mapping[str, Claim]]:
    run = await new_run(app.store, {name: [] for name in NAMES})
    worker = await new_worker(app.store)
    return worker, run, await worker.claim(run=run)


def _approvals(found: Sequence[Approval | BaseException]) -> Sequence[Approval]:
    """Return what was found; all of it has to be approvals."""
    unexpected = [it for it in found if not isinstance(it, Approval)]
    assert unexpected == []
    return [it for it in found if isinstance(it, Approval)]


async def _event(approvals: CheckpointCoordinator, claim: Claim) -> ApprovalEvent:
    return ApprovalEvent((await approvals.get(claim.id)).status.value)
