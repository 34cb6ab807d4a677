"""What goes over the border between strategy, coordinator, notifiers and those who decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flowstone.core.json_value import JsonText
from flowstone.plugins.checkpoints.rules import ApprovalRules


class ApprovalStatus(StrEnum):
    """Where an approval stands; all but the first two are final."""

    PENDING = "pending"
    ESCALATED = "escalated"
    APPROVED = "approved"
    MODIFIED = "modified"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether somebody can still decide."""
        return self in (ApprovalStatus.PENDING, ApprovalStatus.ESCALATED)


class Verdict(StrEnum):
    """What somebody decides."""

    APPROVE = "approve"
    REJECT = "reject"


class ApprovalEvent(StrEnum):
    """What notifiers are told."""

    REQUESTED = "requested"
    REMINDER = "reminder"
    ESCALATED = "escalated"
    APPROVED = "approved"
    MODIFIED = "modified"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class NewApproval:
    """
    What a materialization asks for.

    Attributes:
        claim: The fence: a claim that is over asks for nothing any more.
        value: The value that is held, as the codec's text.
    """

    materialization_id: int
    claim: int
    run_id: int
    asset: str
    partition: str
    message: str
    value: JsonText
    rules: ApprovalRules


@dataclass(frozen=True, slots=True)
class Approval:
    """
    An approval as it stands.

    Attributes:
        id: That of the materialization which waits for it.
        partition: Encoded; empty: none.
        value: The value that is held, as the codec's text.
        decided_value: What an approver has put in its place; None: nothing.
        approvers: People or groups that may decide; empty is everybody.
        deadline_at: When the deadline decides; None is never.
        remaining: How long that is from now, by the store's clock; below zero it has passed.
            None: there is no deadline, or it is decided.
        escalation_count: How often it was passed on.
        escalated_by: Who has passed it on last; None: its deadline, or nobody.
        decided_by: Who has decided; None with a decision: its deadline.
        reason: Why it was decided so, or passed on.
    """

    id: int
    run_id: int
    asset: str
    partition: str
    status: ApprovalStatus
    message: str
    value: JsonText
    decided_value: JsonText | None
    approvers: tuple[str, ...]
    requested_at: datetime
    deadline_at: datetime | None
    remaining: timedelta | None
    escalation_count: int
    escalated_by: str | None
    escalated_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str

    @property
    def label(self) -> str:
        """What it is, for people."""
        slice_ = f"[{self.partition}]" if self.partition else ""
        return f"approval {self.id} of {self.asset}{slice_}, run {self.run_id}"

    @property
    def decision(self) -> str:
        """What became of it, for people: ``rejected by ann: too large``."""
        by = f" by {self.decided_by}" if self.decided_by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.status}{by}{why}"


@dataclass(frozen=True, slots=True)
class Notice:
    """
    Something that notifiers have not been told yet.

    Attributes:
        id: The same each time that it is tried: receivers can tell a repeat by it.
        event: What has happened.
        approval: As it stands now, which may be after the event.
        attempt: 1 the first time.
        told: Names of the notifiers that have taken it.
    """

    id: int
    event: ApprovalEvent
    approval: Approval
    attempt: int = 1
    told: Sequence[str] = ()
