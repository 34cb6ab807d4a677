"""Scatters whose items, and whose gathering, write down when they begin and end."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator

from flowstone import Context, Pipeline
from flowstone.plugins.scatter import Results, scatter
from tests.scenarios.ledger import Ledger

scattered = Pipeline("scattered")


def _setting(name: str, default: int) -> int:
    return int(os.environ.get(f"SCATTERED_{name}", default))


ITEMS = _setting("ITEMS", 3000)
PAGE = _setting("PAGE", 100)
PAGE_MS = _setting("PAGE_MS", 20)
"""Slow enough to be killed while it reads."""


def note(name: str, line: str) -> None:
    """Append a line; one write, so that those of several processes do not mix."""
    path = Ledger.of_this_process().folder / name
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


HALTS = "halts"
"""The file with the numbers that are not read before their gates are open, such as ``read-700``."""


async def numbers() -> AsyncIterator[int]:
    ledger = Ledger.of_this_process()
    halts = ledger.folder / HALTS
    gated = set(halts.read_text().split()) if halts.exists() else set()
    for number in range(ITEMS):
        if number % PAGE == 0:
            await asyncio.sleep(PAGE_MS / 1000)
            if str(number) in gated:
                await ledger.pass_gate(f"read-{number}")
        yield number


async def total(results: Results[int, list[int | str]]) -> int:
    found, half = 0, results.completed_count // 2
    async for it in results:
        found += it.item
        half -= 1
        if half == 0:
            note("gathering", str(os.getpid()))
            await Ledger.of_this_process().pass_gate("gather")
    return found


@scattered.asset
@scatter(numbers, gather=total, batch_size=PAGE, max_concurrent=_setting("AT_ONCE", 200))
async def counted(number: int) -> list[int | str]:
    """The result names the start that it is of."""
    token = secrets.token_hex(6)
    note("items", f"{number}\t{token}\t{time.time_ns() // 1000}")
    await asyncio.sleep(0.005)
    return [number, token]


LIMIT = _setting("LIMIT", 8)
RATE = _setting("RATE", 100)
BODY_MS = _setting("BODY_MS", 50)


async def spanning(name: str) -> None:
    """Write down when it began and when it ended, by the clock that all processes here share."""
    began = time.monotonic_ns()
    await asyncio.sleep(BODY_MS / 1000)
    note(name, f"{began}\t{time.monotonic_ns()}")


@scattered.asset
@scatter(list(range(_setting("LIMITED", 160))), max_concurrent=LIMIT)
async def limited(number: int) -> None:
    await spanning("limited")


@scattered.asset
@scatter(list(range(_setting("RATED", 150))), rate_limit=f"{RATE}/s")
async def rated(number: int) -> None:
    await spanning("rated")


async def waiting_for_gate(number: int) -> int:
    note("begun", f"{number}\t{os.getpid()}")
    if number == 0:
        await Ledger.of_this_process().pass_gate("long")
    return number


@scattered.asset
@scatter(list(range(1500)), timeout=None)
async def one_is_long(number: int) -> int:
    return await waiting_for_gate(number)


@scattered.asset
@scatter(list(range(100)), timeout=None)
def one_is_long_in_a_thread(number: int, ctx: Context) -> int:
    note("begun", f"{number}\t{os.getpid()}")
    if number == 0:
        Ledger.of_this_process().pass_gate_in_thread("long", ctx)
    return number


@scattered.asset
@scatter(list(range(300)), timeout=None)
async def one_holds_the_loop(number: int) -> int:
    """The first start of one item never returns, and lets nothing else run."""
    folder = Ledger.of_this_process().folder
    note("begun", f"{number}\t{os.getpid()}")
    if number == 40 and not (folder / "held.gate").exists():
        Ledger.of_this_process().open_gate("held")
        while True:
            pass
    return number
