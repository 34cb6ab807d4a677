"""Decisions in tests: by the asset that waits for them, instead of by an id."""

from collections.abc import Sequence

from flowstone.core import partition as partitions
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.plugins.checkpoints import deciding
from flowstone.plugins.checkpoints.deciding import HELD
from flowstone.plugins.checkpoints.records import Approval


async def open_approval(
    app: FlowStone, asset: Asset[..., object] | str, *, partition: object = None
) -> Approval:
    """
    Return the one approval that the asset waits for.

    Raises:
        AssertionError: There is none, or there are several.
    """
    name = app.definitions.get(asset).full_name
    found = await deciding.list_approvals(app, asset=name)
    if partition is not None:
        found = [it for it in found if it.partition == partitions.encode(partition)]
    if len(found) == 1:
        return found[0]
    waits = await deciding.list_approvals(app)
    listed = "\n".join(f"  {it.label}: {it.message}" for it in waits) or "  none"
    why = "several approvals" if found else "no approval"
    raise AssertionError(
        f"{why} of {name} can be decided; drain(app) runs what has not asked yet. Open:\n{listed}"
    )


async def approve(
    app: FlowStone,
    asset: Asset[..., object] | str,
    *,
    partition: object = None,
    by: str = "test",
    groups: Sequence[str] | None = None,
    reason: str = "",
    value: object = HELD,
) -> Approval:
    """
    Approve what the asset waits for, as `flowstone.plugins.checkpoints.approve` does.

    Args:
        groups: None is: of those who may decide, whoever they are.

    Raises:
        AssertionError: There is none, or there are several.
    """
    it = await open_approval(app, asset, partition=partition)
    belongs = it.approvers if groups is None else groups
    return await deciding.approve(app, it.id, by=by, groups=belongs, reason=reason, value=value)


async def reject(
    app: FlowStone,
    asset: Asset[..., object] | str,
    *,
    partition: object = None,
    by: str = "test",
    groups: Sequence[str] | None = None,
    reason: str = "",
) -> Approval:
    """Reject what the asset waits for; the rest is as with `approve`."""
    it = await open_approval(app, asset, partition=partition)
    belongs = it.approvers if groups is None else groups
    return await deciding.reject(app, it.id, by=by, groups=belongs, reason=reason)
