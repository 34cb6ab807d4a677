"""Bodies that hold the event loop, for a moment or for good; a second attempt does not."""

import re
import threading
import time

from flowstone import Context, Pipeline
from tests.scenarios.ledger import GATE_SECONDS, Ledger
from tests.scenarios.pipelines.made import Made, begin, made

hanging = Pipeline("hanging")


@hanging.asset
async def momentary(ctx: Context) -> Made:
    """Holds the loop until the gate ``moment`` is open."""
    start = begin(ctx)
    ledger = Ledger.of_this_process()
    deadline = time.monotonic() + GATE_SECONDS
    while not ledger.is_open("moment") and time.monotonic() < deadline:
        pass
    return made(start)


@hanging.asset
async def endless(ctx: Context) -> Made:
    start = begin(ctx)
    while ctx.attempt == 1:
        pass
    return made(start)


@hanging.asset
def deaf(ctx: Context) -> Made:
    """Runs in a thread, and does not ask whether it is to stop."""
    start = begin(ctx)
    if len(Ledger.of_this_process().starts()) == 1:
        threading.Event().wait()
    return made(start)


@hanging.asset
async def endless_in_c(ctx: Context) -> Made:
    """Keeps Python's lock: no other thread of the process runs any more."""
    start = begin(ctx)
    if ctx.attempt == 1:
        re.match("(a+)+$", "a" * 64 + "b")
    return made(start)
