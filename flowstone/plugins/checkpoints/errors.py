"""What goes wrong with approvals."""

from collections.abc import Iterable

from flowstone.core.errors import FlowStoneError, MaterializationError
from flowstone.plugins.checkpoints.records import Approval


class ApprovalError(FlowStoneError):
    """
    Something about an approval went wrong.

    Attributes:
        approval_id: Which one.
    """

    code = "approval_error"

    def __init__(self, approval_id: int, message: str) -> None:
        self.approval_id = approval_id
        super().__init__(message, context={"approval_id": approval_id})


class ApprovalNotFoundError(ApprovalError):
    """There is no such approval, or it was pruned with its run."""

    code = "approval_not_found"

    def __init__(self, approval_id: int) -> None:
        super().__init__(approval_id, f"there is no approval {approval_id}")


class ApprovalClosedError(ApprovalError):
    """
    It is decided otherwise, has expired, or was cancelled with its run.

    Attributes:
        approval: As it stands: ``status``, ``decided_by``, ``decided_at``, ``reason``.
    """

    code = "approval_closed"

    def __init__(self, approval: Approval) -> None:
        self.approval = approval
        at = f" ({approval.decided_at:%Y-%m-%d %H:%M:%S %Z})" if approval.decided_at else ""
        super().__init__(approval.id, f"{approval.label}, was {approval.decision}{at}")


class NotAnApproverError(ApprovalError):
    """
    Who tried may not decide this one.

    Attributes:
        by: Who tried.
        approvers: Who may.
    """

    code = "not_an_approver"

    def __init__(self, approval: Approval, by: str, groups: Iterable[str] = ()) -> None:
        self.by = by
        self.approvers = approval.approvers
        of = ", ".join(groups)
        member = f" (of {of})" if of else ""
        super().__init__(
            approval.id,
            f"{by}{member} may not decide {approval.label}: {', '.join(approval.approvers)} may; "
            f'a group that {by} belongs to is said with groups=["{approval.approvers[0]}"], on the '
            f"command line --group {approval.approvers[0]}",
        )


class ApprovalRejectedError(MaterializationError):
    """
    Somebody said no, so that the asset gets no value. Not tried again.

    Attributes:
        approval_id: Which approval.
        by: Who; None: nobody decided in time.
        reason: Why.
    """

    code = "approval_rejected"

    def __init__(self, approval: Approval) -> None:
        self.approval_id = approval.id
        self.by = approval.decided_by
        self.reason = approval.reason
        super().__init__(
            f"{approval.label}: {approval.decision}",
            asset=approval.asset,
            partition=approval.partition,
            run_id=approval.run_id,
            context={"approval_id": approval.id, "by": self.by, "reason": self.reason},
        )


class ApprovalExpiredError(ApprovalRejectedError):
    """Nobody decided in time, and what then happens is no."""

    code = "approval_expired"


class ApprovalLostError(MaterializationError):
    """The attempt asked for approval when it was over: another one has taken its place."""

    code = "approval_lost"
