"""A scatter whose items, and whose gathering, write down that they begin."""

import asyncio
import os
from collections.abc import AsyncIterator

from flowstone import Pipeline
from flowstone.plugins.scatter import Results, scatter
from tests.scenarios.ledger import Ledger

scattered = Pipeline("scattered")

ITEMS = 3000
PAGE = 100


def note(name: str, line: str) -> None:
    path = Ledger.of_this_process().folder / name
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


async def numbers() -> AsyncIterator[int]:
    for number in range(ITEMS):
        if number % PAGE == 0:
            # Slow enough to be killed while it reads.
            await asyncio.sleep(0.02)
        yield number


async def total(results: Results[int, int]) -> int:
    note("gathered", "begun")
    found = sum([it.value async for it in results])
    await Ledger.of_this_process().pass_gate("gather")
    return found


@scattered.asset
@scatter(numbers, gather=total, batch_size=PAGE, max_concurrent=200)
async def counted(number: int) -> int:
    note("items", str(number))
    await asyncio.sleep(0.005)
    return number


LIMIT = 8


@scattered.asset
@scatter(list(range(160)), max_concurrent=LIMIT)
async def limited(number: int) -> None:
    note("limited", "+")
    await asyncio.sleep(0.05)
    note("limited", "-")
