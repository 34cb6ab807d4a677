"""
Approvals: an asset's value is held until somebody has decided about it.

::

    @desk.asset
    @approval(timeout="2d", approvers=["risk"])
    async def trade(order: Order = Dep(order)) -> Trade | NeedsApproval[Trade]:
        traded = price(order)
        return NeedsApproval(traded, "large") if traded.total > 1_000_000 else traded

    await approve(app, approval_id, by="ann", groups=["risk"])
"""

from flowstone.plugins.checkpoints.coordinator import CheckpointCoordinator
from flowstone.plugins.checkpoints.deciding import (
    approve,
    escalate,
    get_approval,
    held_value,
    list_approvals,
    reject,
)
from flowstone.plugins.checkpoints.decorator import approval
from flowstone.plugins.checkpoints.errors import (
    ApprovalClosedError,
    ApprovalError,
    ApprovalExpiredError,
    ApprovalLostError,
    ApprovalNotFoundError,
    ApprovalRejectedError,
    NotAnApproverError,
)
from flowstone.plugins.checkpoints.log_notifier import LogNotifier
from flowstone.plugins.checkpoints.needs_approval import NeedsApproval
from flowstone.plugins.checkpoints.notifier import Notifier
from flowstone.plugins.checkpoints.plugin import CheckpointsPlugin
from flowstone.plugins.checkpoints.records import (
    Approval,
    ApprovalEvent,
    ApprovalStatus,
    NewApproval,
    Notice,
    Verdict,
)
from flowstone.plugins.checkpoints.rules import ApprovalRules, OnTimeout
from flowstone.plugins.checkpoints.webhook_notifier import WebhookError, WebhookNotifier, verify

__all__ = [
    "Approval",
    "ApprovalClosedError",
    "ApprovalError",
    "ApprovalEvent",
    "ApprovalExpiredError",
    "ApprovalLostError",
    "ApprovalNotFoundError",
    "ApprovalRejectedError",
    "ApprovalRules",
    "ApprovalStatus",
    "CheckpointCoordinator",
    "CheckpointsPlugin",
    "LogNotifier",
    "NeedsApproval",
    "NewApproval",
    "NotAnApproverError",
    "Notice",
    "Notifier",
    "OnTimeout",
    "Verdict",
    "WebhookError",
    "WebhookNotifier",
    "approval",
    "approve",
    "escalate",
    "get_approval",
    "held_value",
    "list_approvals",
    "reject",
    "verify",
]
