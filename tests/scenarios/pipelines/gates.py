"""
Assets that wait at gates, each named after its partition; what goes on is written down.

The partition says what a gate has to reckon with: ``signals-…`` waits for ever, ``times-…`` and
``cancels-…`` for a moment.
"""

import os

from flowstone import Context, Pipeline
from flowstone.plugins.signal_gate import Wait, signal_gate
from tests.scenarios.ledger import Ledger

gates = Pipeline("gates")


def note(what: str, ctx: Context[str]) -> None:
    """Write a line down that outlives the process."""
    line = f"{what} {ctx.partition} {ctx.attempt}\n".encode()
    path = Ledger.of_this_process().folder / "continued"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


async def on_signal(ctx: Context[str], payload: str) -> str:
    note("signaled", ctx)
    return payload


async def on_timeout(ctx: Context[str]) -> str:
    note("late", ctx)
    return "late"


@gates.asset
@signal_gate(on_signal=on_signal, timeout=None)
async def patient(ctx: Context[str]) -> Wait:
    note("begun", ctx)
    return Wait(ctx.partition)


@gates.asset
@signal_gate(on_signal=on_signal, on_timeout=on_timeout, timeout="500ms")
async def hasty(ctx: Context[str]) -> Wait:
    note("begun", ctx)
    return Wait(ctx.partition)
