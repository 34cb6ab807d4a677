"""
Deciding from an application's own code: a request handler, a bot, a script.

::

    waiting = await list_approvals(app, approver="risk")
    await approve(app, waiting[0].id, by="ann", groups=["risk"])

The caller vouches for who decides: ``by``, and the groups that this one belongs to.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import Final, Literal

from flowstone.core import duration
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.error_record import MESSAGE_BYTES, harmless, shorten
from flowstone.core.errors import InvalidOptionError, ValueNotReadableError
from flowstone.core.json_value import JsonText
from flowstone.core.values import MAX_BYTES
from flowstone.plugins.checkpoints.coordinator import CheckpointCoordinator
from flowstone.plugins.checkpoints.records import Approval, Verdict
from flowstone.plugins.checkpoints.rules import is_name, names


class _Held(Enum):
    HELD = "the value that is held"


HELD: Final = _Held.HELD
"""Approve the value as it is."""


async def get_approval(app: FlowStone, approval_id: int) -> Approval:
    """Return an approval as it stands. Raises `ApprovalNotFoundError`."""
    return await app.coordinator(CheckpointCoordinator).get(approval_id)


async def list_approvals(
    app: FlowStone,
    *,
    is_open: bool | None = True,
    asset: Asset[..., object] | str | None = None,
    approver: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> Sequence[Approval]:
    """Return approvals, newest first; see `CheckpointCoordinator.list`."""
    name = asset.full_name if isinstance(asset, Asset) else asset
    return await app.coordinator(CheckpointCoordinator).list(
        is_open=is_open, asset=name, approver=approver, limit=limit, before=before
    )


def held_value(app: FlowStone, approval: Approval) -> object:
    """Return the value that an approval holds, as its asset returned it."""
    asset = app.definitions.find(approval.asset)
    return app.codec.decode(approval.value, object if asset is None else asset.value_type)


async def approve(
    app: FlowStone,
    approval_id: int,
    *,
    by: str,
    groups: Sequence[str] = (),
    reason: str = "",
    value: object | Literal[_Held.HELD] = HELD,
) -> Approval:
    """
    Approve: the held value becomes the asset's, and its run goes on.

    Args:
        by: Who decides.
        groups: Groups that this one belongs to; the caller vouches for that.
        value: Takes the place of the value that is held; has to be what the asset returns.

    Raises:
        ApprovalNotFoundError: There is no such approval.
        ApprovalClosedError: It is decided otherwise, has expired, or was cancelled.
        NotAnApproverError: This one may not decide.
        InvalidOptionError: The value is not what the asset returns, or ``by`` is no name.
        ValueNotStorableError: The value cannot be kept.
    """
    approvals = app.coordinator(CheckpointCoordinator)
    text = None
    if value is not HELD:
        text = _checked_value(app, await approvals.get(approval_id), value)
    return await approvals.decide(
        approval_id,
        Verdict.APPROVE,
        by=_checked_name(by),
        groups=names(groups, option="groups"),
        reason=_readable(reason),
        value=text,
    )


async def reject(
    app: FlowStone, approval_id: int, *, by: str, reason: str = "", groups: Sequence[str] = ()
) -> Approval:
    """Reject: the asset fails with the reason. The rest is as with `approve`."""
    return await app.coordinator(CheckpointCoordinator).decide(
        approval_id,
        Verdict.REJECT,
        by=_checked_name(by),
        groups=names(groups, option="groups"),
        reason=_readable(reason),
    )


async def escalate(
    app: FlowStone,
    approval_id: int,
    *,
    by: str,
    to: Sequence[str],
    reason: str = "",
    timeout: timedelta | str | float | None = None,
    groups: Sequence[str] = (),
) -> Approval:
    """
    Let others decide in the place of those who could so far.

    Args:
        to: Names of people or groups.
        timeout: How long they have from now; None is as long as the asset says.

    Raises what `approve` raises.
    """
    others = names(to, option="to")
    if not others:
        raise InvalidOptionError('to=[] leaves nobody to decide; name somebody: to=["cfo"]')
    limit = None if timeout is None else duration.parse(timeout, option="timeout")
    if limit is not None and not limit:
        raise InvalidOptionError(
            "timeout=0 leaves nobody time to decide; None is as long as the asset says"
        )
    return await app.coordinator(CheckpointCoordinator).escalate(
        approval_id,
        by=_checked_name(by),
        to=others,
        groups=names(groups, option="groups"),
        reason=_readable(reason),
        timeout=limit,
    )


def _checked_name(by: str) -> str:
    if not is_name(by):
        raise InvalidOptionError(f"by={by!r} must name who decides")
    return by


def _readable(reason: str) -> str:
    return shorten(harmless(reason), MESSAGE_BYTES)


def _checked_value(app: FlowStone, approval: Approval, value: object) -> JsonText:
    text = app.codec.encode(value, max_bytes=MAX_BYTES)
    asset = app.definitions.find(approval.asset)
    if asset is not None:
        try:
            app.codec.decode(text, asset.value_type)
        except ValueNotReadableError as error:
            raise InvalidOptionError(
                f"value={value!r} is not what {approval.asset} returns: {error}"
            ) from error
    return text
