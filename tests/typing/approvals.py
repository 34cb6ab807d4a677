"""An asset that needs approval has the value that is held, whatever else its function returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_type

from flowstone import Context, Dep, FlowStone, Pipeline, Skip
from flowstone.plugins.checkpoints import Approval, NeedsApproval, approval, approve


@dataclass
class Trade:
    total: int


desk = Pipeline("desk")


@desk.asset
async def order() -> int:
    return 1


@desk.asset
@approval(timeout="2d", on_timeout="reject", approvers=["risk"])
async def trade(order: int = Dep(order)) -> Trade | NeedsApproval[Trade]:
    held = Trade(order)
    return NeedsApproval(held, "large") if order > 1 else held


@desk.asset
@approval()
def plain(order: int = Dep(order)) -> Trade | NeedsApproval[Trade]:
    return NeedsApproval(Trade(order))


@desk.asset(queue="desk")
@approval(on_timeout="escalate", timeout="1h", escalate_to=["cfo"])
async def always(ctx: Context) -> NeedsApproval[list[int]]:
    return NeedsApproval([1], "each time")


@desk.asset
@approval()
async def sometimes() -> Trade | NeedsApproval[Trade] | Skip:
    return Skip("nothing to trade")


@desk.asset
@approval()
async def of_either() -> int | str | NeedsApproval[int | str]:
    return 1


assert_type(Dep(trade), Trade)
assert_type(Dep(plain), Trade)
assert_type(Dep(always), list[int])
assert_type(Dep(sometimes), Trade)


@desk.asset
async def booked(
    trade: Trade = Dep(trade), plain: Trade = Dep(plain), numbers: list[int] = Dep(always)
) -> int:
    return trade.total


@desk.asset
async def wrong(trade: str = Dep(trade)) -> None: ...  # E:


@desk.asset
async def held_is_no_value(trade: NeedsApproval[Trade] = Dep(trade)) -> None: ...  # E:


@approval(on_timeout="ignore")  # E:
async def unknown_action() -> Trade | NeedsApproval[Trade]:
    return Trade(1)


@approval("2d")  # E:
async def positional() -> Trade | NeedsApproval[Trade]:
    return Trade(1)


async def calls(app: FlowStone) -> None:
    assert_type(await trade(1), Trade | NeedsApproval[Trade])
    assert_type(plain(1), Trade | NeedsApproval[Trade])
    assert_type(await app.run(trade), Trade)
    assert_type(await approve(app, 1, by="ann", groups=["risk"], value=Trade(2)), Approval)
    await approve(app, 1)  # E:
    await approve(app, "1", by="ann")  # E:


def of_subclasses(numbers: NeedsApproval[list[int]]) -> NeedsApproval[Sequence[int]]:
    return numbers
