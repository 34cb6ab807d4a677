"""Jobs that are over at once, or stay until they are let go."""

import asyncio

from flowstone import JobContext, Pipeline
from tests.scenarios.ledger import Ledger

limited = Pipeline("limited")


@limited.job(queue="narrow")
async def quick(number: int) -> int:
    await asyncio.sleep(0.001 * (number % 3))
    return number


@limited.job(queue="paced")
async def paced(number: int) -> int:
    return number


@limited.job(queue="lanes", lane="lane")
async def laned(lane: int, number: int) -> int:
    await asyncio.sleep(0.001 * (number % 2))
    return number


@limited.job(queue="narrow")
async def staying(ctx: JobContext) -> None:
    await Ledger.of_this_process().pass_gate("go")
