"""What is told to telemetry about approvals."""

from datetime import timedelta

from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.telemetry_catalogue import EventSpec
from flowstone.plugins.checkpoints.records import Approval, ApprovalEvent, ApprovalStatus

_FACTS = ("approval_id", "asset", "partition", "run_id", "status", "by")
_DECIDED = ("duration",)

EVENTS = (
    EventSpec("approval.requested", ("count",), _FACTS, "A value is held until it is approved"),
    EventSpec("approval.reminder", ("count",), _FACTS, "Its deadline is near"),
    EventSpec("approval.escalated", ("count",), _FACTS, "It was passed on to others"),
    EventSpec("approval.approved", _DECIDED, _FACTS, "The value that was held counts"),
    EventSpec("approval.modified", _DECIDED, _FACTS, "Another value counts in its place"),
    EventSpec("approval.rejected", _DECIDED, _FACTS, "There will be no value"),
    EventSpec("approval.expired", _DECIDED, _FACTS, "Nobody decided in time: there will be none"),
    EventSpec(
        "approval.notify.exception",
        ("attempt",),
        ("approval_id", "event", "notifier", "error"),
        "A notifier did not take what it was told; it is told again",
    ),
)
"""
A decision is told by the worker that goes on with it, whoever has decided: once, and again when
that worker is lost. Its duration is how long it was open.
"""

NAMES = frozenset(spec.name for spec in EVENTS)


def tell(telemetry: TelemetryEmitter, event: str, approval: Approval) -> None:
    """Tell what has happened to an approval, if that is an event."""
    name = f"approval.{event}"
    if name not in NAMES:
        return
    measured = {"count": 1.0}
    if event not in (ApprovalEvent.REQUESTED, ApprovalEvent.REMINDER, ApprovalEvent.ESCALATED):
        open_for = (approval.decided_at or approval.requested_at) - approval.requested_at
        measured = {"duration": open_for / timedelta(milliseconds=1)}
    by = (
        approval.escalated_by
        if approval.status is ApprovalStatus.ESCALATED
        else approval.decided_by
    )
    telemetry.execute(
        name,
        measured,
        {
            "approval_id": approval.id,
            "asset": approval.asset,
            "partition": approval.partition,
            "run_id": approval.run_id,
            "status": approval.status.value,
            "by": by,
        },
    )
