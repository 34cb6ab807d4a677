"""
Assets that take as long as the test wants: each body waits for a gate of its own attempt.

The gate's name is that of the asset and the attempt, such as ``held-1``.
"""

import asyncio
import os
import signal
from contextlib import suppress

from flowstone import Context, Dep, Pipeline, Snooze
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.made import Made, begin, made

gated = Pipeline("gated")


def gate_of(ctx: Context) -> str:
    return f"{ctx.asset.rpartition('.')[2]}-{ctx.attempt}"


@gated.asset
async def plain(ctx: Context) -> Made:
    return made(begin(ctx))


@gated.asset
async def held(ctx: Context) -> Made:
    start = begin(ctx)
    await Ledger.of_this_process().pass_gate(gate_of(ctx))
    return made(start)


@gated.asset
async def after_held(ctx: Context, base: Made = Dep(held)) -> Made:
    return made(begin(ctx), base)


@gated.asset
def held_in_thread(ctx: Context) -> Made:
    start = begin(ctx)
    Ledger.of_this_process().pass_gate_in_thread(gate_of(ctx), ctx)
    return made(start)


@gated.asset
async def stubborn(ctx: Context) -> Made:
    """Does not let itself be cancelled."""
    start = begin(ctx)
    passing = asyncio.create_task(Ledger.of_this_process().pass_gate(gate_of(ctx)))
    while not passing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(passing)
    return made(start)


@gated.asset
async def deadly(ctx: Context) -> Made:
    """Takes its worker with it, each time, when its gate opens."""
    start = begin(ctx)
    await Ledger.of_this_process().pass_gate(gate_of(ctx))
    os.kill(os.getpid(), signal.SIGKILL)
    return made(start)


@gated.asset
async def postponed(ctx: Context) -> Made | Snooze:
    """Comes back at once when it starts for the first time."""
    start = begin(ctx)
    ledger = Ledger.of_this_process()
    if len(ledger.starts(ctx.asset)) == 1:
        await ledger.pass_gate(gate_of(ctx))
        return Snooze(0)
    return made(start)
