"""What keeps approvals: one contract, implemented in memory and on Postgres."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import ClassVar

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.json_value import JsonText
from flowstone.plugins.checkpoints.errors import ApprovalNotFoundError
from flowstone.plugins.checkpoints.records import Approval, NewApproval, Notice, Verdict

TOPIC = "checkpoints"
"""Published in the store's wake-ups when notifiers have something to be told."""


class CheckpointCoordinator(Coordinator, ABC):
    """
    Keeps what is to be decided, decides it once, and lets what waits for it go on.

    Every method is one atomic step, and harmless to repeat. A decision and the wake-up of its
    materialization are one step; so are what happens and the notice of it. A deadline that has
    passed decides before anybody else does, whoever looks first: what counts is the store's clock.
    An approval whose materialization has ended otherwise is cancelled.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    async def request(self, new: NewApproval) -> Approval:
        """
        Hold a value until somebody has decided.

        A materialization has one approval: a repeat, by a later attempt as well, returns the first
        one as it stands.

        Raises:
            ApprovalLostError: The claim is over.
        """

    @abstractmethod
    async def find(self, approval_id: int) -> Approval | None:
        """Return the approval; None: the materialization of that id has asked for none."""

    @abstractmethod
    async def list(
        self,
        *,
        is_open: bool | None = True,
        asset: str | None = None,
        approver: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[Approval]:
        """
        Return approvals, newest first; ``before`` is the id to page on from.

        Args:
            is_open: Those that somebody can still decide (True), all others (False), any (None).
            asset: Only this asset's, by its full name.
            approver: Only those that this one, a person or a group, may decide.
        """

    @abstractmethod
    async def decide(
        self,
        approval_id: int,
        verdict: Verdict,
        *,
        by: str,
        groups: Sequence[str] = (),
        reason: str = "",
        value: JsonText | None = None,
    ) -> Approval:
        """
        Decide, and let the materialization go on.

        Saying the same again, the same one, changes nothing and returns the approval.

        Args:
            groups: What the caller vouches that ``by`` belongs to.
            value: Takes the place of the value that is held, when it is approved.

        Raises:
            ApprovalNotFoundError: There is no such approval.
            ApprovalClosedError: It is decided otherwise, has expired, or was cancelled.
            NotAnApproverError: Neither ``by`` nor one of the groups is among its approvers.
        """

    @abstractmethod
    async def escalate(
        self,
        approval_id: int,
        *,
        by: str,
        to: Sequence[str],
        groups: Sequence[str] = (),
        reason: str = "",
        timeout: timedelta | None = None,
    ) -> Approval:
        """
        Let others decide in the place of those who could so far; the deadline begins anew.

        Args:
            timeout: How long they have; None is as long as was said first.

        Raises what `decide` raises.
        """

    @abstractmethod
    async def expire(self, approval_id: int) -> Approval:
        """
        Do what the deadline says, if it has passed; returns the approval as it stands then.

        Raises:
            ApprovalNotFoundError: There is no such approval.
        """

    @abstractmethod
    async def of_run(self, run_id: int) -> Sequence[Approval]:
        """Return all that a run's materializations have asked for."""

    # What notifiers are to be told

    @abstractmethod
    async def take_notices(self, limit: int = 50) -> Sequence[Notice]:
        """
        Return notices that are due, oldest first.

        Until one is settled it comes again: after 5 s, 10 s, 20 s …, at most an hour.
        """

    @abstractmethod
    async def settle_notice(self, notice_id: int, *, told: Iterable[str], is_done: bool) -> None:
        """
        Note which notifiers have taken a notice.

        Args:
            is_done: It needs not be told any more.
        """

    @abstractmethod
    async def next_notice(self) -> timedelta | None:
        """Return how long it is until the next notice is due; None: there is none."""

    # What follows from these

    async def get(self, approval_id: int) -> Approval:
        """Return the approval. Raises `ApprovalNotFoundError`."""
        found = await self.find(approval_id)
        if found is None:
            raise ApprovalNotFoundError(approval_id)
        return found

    async def remarks(self, run_id: int) -> dict[int, str]:
        """Say of a run's materializations what was decided, or is to be: for those who look."""
        return {it.id: _remark(it) for it in await self.of_run(run_id)}


def _remark(approval: Approval) -> str:
    if not approval.status.is_open:
        return approval.decision
    whom = f" by {', '.join(approval.approvers)}" if approval.approvers else ""
    about = f": {approval.message}" if approval.message else ""
    return f"to be approved{whom}{about}"
