"""Jobs that take as long as the test wants, and what ordinary ones do."""

import asyncio
import os
from contextlib import suppress

from flowstone import JobContext, Pipeline, Retry, Unique
from tests.scenarios.ledger import Ledger

errands = Pipeline("errands")


@errands.job
async def told(what: str) -> str:
    return f"told {what}"


@errands.job(lane="order")
async def orderly(order: int, what: str) -> str:
    return f"{what} of {order}"


@errands.job
async def held(ctx: JobContext, gate: str) -> int:
    """Return its attempt, once the gate is open."""
    ledger = Ledger.of_this_process()
    ledger.begin(ctx)
    await ledger.pass_gate(gate)
    return ctx.attempt


@errands.job
async def stubborn(ctx: JobContext, gate: str) -> str:
    """Does not let itself be cancelled."""
    ledger = Ledger.of_this_process()
    ledger.begin(ctx)
    passing = asyncio.create_task(ledger.pass_gate(gate))
    while not passing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(passing)
    return "done all the same"


@errands.job(retry=Retry(2, base="10ms"))
async def broken(what: str) -> str:
    raise ValueError(f"no {what} today")


@errands.job(retry=Retry(3, base="10ms"), unique=Unique(by=["what"], states=["waiting"]))
async def lone(ctx: JobContext, what: str, gate: str) -> int:
    """Fail the first attempt, once the gate is open; return the job's number in another."""
    ledger = Ledger.of_this_process()
    ledger.begin(ctx)
    await ledger.pass_gate(gate)
    if ctx.attempt == 1 and gate == "fails":
        raise ValueError("the first time it fails")
    return ctx.job_id


@errands.job(executor="process")
def spinning(ctx: JobContext, gate: str) -> int:
    """Hold the GIL until the gate is open, and return the process."""
    ledger = Ledger.of_this_process()
    ledger.begin(ctx)
    while not ledger.is_open(gate):
        pass
    return os.getpid()
