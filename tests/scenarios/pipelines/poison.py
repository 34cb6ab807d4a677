"""An asset that takes its process with it whenever it runs, beside others that do no harm."""

import asyncio
import os

from flowstone import Context, Pipeline
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.made import Made, begin, made

NEIGHBORS = 5

poison = Pipeline("poison")


@poison.asset
async def innocent(ctx: Context[str]) -> Made:
    start = begin(ctx)
    await asyncio.sleep(0.6)
    return made(start)


@poison.asset
async def aborting(ctx: Context) -> None:
    """The first times, sees to it that others die with it."""
    begin(ctx)
    ledger = Ledger.of_this_process()
    while ctx.attempt <= 2 and sum(it.pid == os.getpid() for it in ledger.starts()) <= NEIGHBORS:
        await asyncio.sleep(0.01)
    os.abort()
