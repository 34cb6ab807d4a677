"""
A trade that somebody approves before it counts: approved with less, rejected, too late. In memory.

    python examples/trade_with_approval.py

prints::

    small    booked 300 of sugar
    large    run 2 waits: desk.trade[tea] for approval (risk)
             risk reads: 5000 of tea, large
             booked 900 of tea, as ann has decided
    coffee   approval 5 of desk.trade[coffee], run 3: rejected by ann: no more coffee
    nobody   approval 7 of desk.trade[cocoa], run 4: expired: nobody decided in time
"""

import asyncio
import logging
from dataclasses import dataclass, replace

from flowstone import Context, Dep, FlowStone, Pipeline, RunFailedError, RunWaiting
from flowstone.plugins.checkpoints import (
    NeedsApproval,
    approval,
    approve,
    held_value,
    list_approvals,
    reject,
)
from flowstone.testing import advance, memory_app

LARGE = 1_000


@dataclass(frozen=True)
class Trade:
    item: str
    total: int


PRICES = {"sugar": 300, "tea": 5_000, "coffee": 7_000, "cocoa": 9_000}

desk = Pipeline("desk")


@desk.asset
@approval(timeout="2d", on_timeout="reject", approvers=["risk"])
async def trade(ctx: Context[str]) -> Trade | NeedsApproval[Trade]:
    """What it costs; a large one is held until somebody of risk has looked at it."""
    priced = Trade(ctx.partition, PRICES[ctx.partition])
    return NeedsApproval(priced, "large") if priced.total > LARGE else priced


@desk.asset
async def booked(trade: Trade = Dep(trade)) -> str:
    """Runs with what was approved, and not at all without."""
    return f"{trade.total} of {trade.item}"


app = memory_app(FlowStone(desk))


async def waiting(item: str) -> tuple[int, int]:
    """Run until it waits; returns the run and the approval, which know nothing of each other."""
    try:
        await app.run(booked, partition=item)
    except RunWaiting as waits:
        (asked,) = await list_approvals(app, approver="risk")
        return waits.run_id, asked.id
    raise AssertionError("a large one waits")


async def outcome(run_id: int) -> str:
    """Go on with the run, here; workers would do it by themselves."""
    try:
        return f"booked {await app.finish(app.handle(run_id))}"
    except RunFailedError as failed:
        return str(failed.__cause__)


async def main() -> None:
    logging.getLogger("flowstone.asset").setLevel(logging.CRITICAL)  # what fails is printed here
    async with app:
        print(f"small    booked {await app.run(booked, partition='sugar')}")

        try:
            await app.run(booked, partition="tea")
        except RunWaiting as waits:
            print(f"large    {waits}")
        (asked,) = await list_approvals(app, approver="risk")
        held = held_value(app, asked)
        assert isinstance(held, Trade)
        print(f"         risk reads: {held.total} of {held.item}, {asked.message}")
        # Another process, the command line or SQL may decide just as well.
        await approve(app, asked.id, by="ann", groups=["risk"], value=replace(held, total=900))
        print(f"         {await outcome(asked.run_id)}, as ann has decided")

        run_id, approval_id = await waiting("coffee")
        await reject(app, approval_id, by="ann", groups=["risk"], reason="no more coffee")
        print(f"coffee   {await outcome(run_id)}")

        run_id, _ = await waiting("cocoa")
        await advance(app, "2d")
        print(f"nobody   {await outcome(run_id)}")


if __name__ == "__main__":
    asyncio.run(main())
