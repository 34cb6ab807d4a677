"""
Assets whose value somebody approves before it counts.

::

    start ── calls the function ──┬─ a value: it is stored
                                  └─ NeedsApproval: requested ──▶ waits
    resume ◀── a decision, or the deadline
       ├─ approved, modified: the held value, or the one in its place, is stored
       ├─ rejected, expired: the materialization fails with the reason
       └─ escalated: it waits again, on others

What was decided is read from the approval's row, never from the wake-up: so nothing is lost when a
worker dies at any point, and a wake-up without a decision only lets it wait again. A start that
finds the approval of an attempt that was lost goes on with that one: nobody is asked twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from flowstone.core.asset import Asset
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.function_strategy import outcome_of
from flowstone.core.error_record import MESSAGE_BYTES, harmless, shorten
from flowstone.core.errors import Problem
from flowstone.core.json_value import JsonValue
from flowstone.core.outcome import Cancelled, Failed, Outcome, Stored, Waiting, Wake
from flowstone.core.values import MAX_BYTES
from flowstone.plugins.checkpoints.coordinator import CheckpointCoordinator
from flowstone.plugins.checkpoints.errors import ApprovalExpiredError, ApprovalRejectedError
from flowstone.plugins.checkpoints.events import tell
from flowstone.plugins.checkpoints.needs_approval import NeedsApproval
from flowstone.plugins.checkpoints.records import Approval, ApprovalStatus, NewApproval
from flowstone.plugins.checkpoints.rules import ApprovalRules

SHORTEST_WAIT = timedelta(milliseconds=1)


class ApprovalStrategy(Strategy):
    """Calls the function, holds what needs approval, and goes on with what was decided."""

    contract_version: ClassVar[str] = "1.0.0"
    plugin: ClassVar[str | None] = "checkpoints"

    def __init__(self, rules: ApprovalRules) -> None:
        self.rules = rules

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterable[Problem]:
        if asset.options.executor == "process":
            yield Problem(
                "a child process returns values, and so cannot ask for approval. Compute in an "
                "asset of its own, and let one that depends on it ask",
                where=str(asset.source),
                asset=asset.full_name,
                fix=f"@{asset.pipeline}.asset\n@approval(...)",
            )

    async def start(self, execution: Execution) -> Outcome:
        approvals = execution.coordinator(CheckpointCoordinator)
        # A first claim has none before it that could have asked.
        approval = await approvals.find(execution.materialization_id) if execution.claim else None
        if approval is None:
            returned = await execution.call()
            if not isinstance(returned, NeedsApproval):
                return outcome_of(returned)
            approval = await approvals.request(self._new(execution, returned))
            tell(execution.telemetry, "requested", approval)
        elif approval.status is not ApprovalStatus.PENDING:
            tell(execution.telemetry, approval.status.value, approval)
        return self._outcome(execution, approval)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        approvals = execution.coordinator(CheckpointCoordinator)
        approval = await approvals.expire(execution.materialization_id)
        if not (isinstance(wake.state, dict) and wake.state == _state(approval)):
            tell(execution.telemetry, approval.status.value, approval)
        return self._outcome(execution, approval)

    def _new(self, execution: Execution, returned: NeedsApproval[object]) -> NewApproval:
        return NewApproval(
            materialization_id=execution.materialization_id,
            claim=execution.claim,
            run_id=execution.run_id,
            asset=execution.asset.full_name,
            partition=execution.partition,
            message=shorten(harmless(returned.message), MESSAGE_BYTES),
            value=execution.codec.encode(returned.value, max_bytes=MAX_BYTES),
            rules=self.rules,
        )

    def _outcome(self, execution: Execution, approval: Approval) -> Outcome:
        match approval.status:
            case ApprovalStatus.APPROVED | ApprovalStatus.MODIFIED:
                text = approval.decided_value or approval.value
                return Stored(execution.codec.decode(text, execution.asset.value_type))
            case ApprovalStatus.REJECTED:
                return Failed(ApprovalRejectedError(approval))
            case ApprovalStatus.EXPIRED:
                return Failed(ApprovalExpiredError(approval))
            case ApprovalStatus.CANCELLED:
                return Cancelled(approval.reason)
            case ApprovalStatus.PENDING | ApprovalStatus.ESCALATED:
                remaining = approval.remaining
                return Waiting(
                    "approval",
                    _state(approval),
                    None if remaining is None else max(remaining, SHORTEST_WAIT),
                    whom=approval.approvers,
                )


def _state(approval: Approval) -> dict[str, JsonValue]:
    """Return what changes whenever something was done to it."""
    return {
        "status": approval.status.value,
        "message": approval.message,
        "escalation_count": approval.escalation_count,
    }
