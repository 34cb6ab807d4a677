"""A small desk whose large trades somebody approves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowstone import Context, Dep, Pipeline
from flowstone.plugins.checkpoints import NeedsApproval, approval

LARGE = 1_000


@dataclass
class Trade:
    total: int
    item: str = "tea"


class Desk:
    """
    The pipeline, and how often its trade was priced.

    Attributes:
        total: What the trade comes to.
    """

    def __init__(self, total: int = 5_000, *, options: Any = None, **rules: Any) -> None:
        self.total = total
        self.priced = 0
        self.while_pricing: Callable[[Context], Any] | None = None
        self.pipeline = desk = Pipeline("desk")

        @desk.asset
        async def order() -> str:
            return "tea"

        @desk.asset(**(options or {}))
        @approval(**rules)
        async def trade(ctx: Context, item: str = Dep(order)) -> Trade | NeedsApproval[Trade]:
            self.priced += 1
            if self.while_pricing is not None:
                await self.while_pricing(ctx)
            priced = Trade(self.total, item)
            return NeedsApproval(priced, "large") if self.total > LARGE else priced

        @desk.asset
        async def booked(trade: Trade = Dep(trade)) -> str:
            return f"{trade.item} for {trade.total}"

        self.trade = trade
        self.booked = booked
