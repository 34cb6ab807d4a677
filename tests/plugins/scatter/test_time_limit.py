"""How long an item may take, and how long it waits for a place to begin at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest

from flowstone.core import call_beginning
from flowstone.plugins.scatter.time_limit import WAIT_SECONDS, Place, TimeLimit

SECOND = timedelta(seconds=1)
BEGAN = 1000.0


@pytest.fixture
async def task() -> AsyncIterator[asyncio.Task[None]]:
    running: asyncio.Task[None] = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
    yield running
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("place", "limit", "patience"),
    [
        ("thread", SECOND, WAIT_SECONDS),
        ("thread", 1000 * SECOND, 1000.0),
        ("child", SECOND, None),
        ("thread", None, None),
    ],
)
async def test_what_waits_is_not_late_but_goes_back_in_the_end(
    task: asyncio.Task[None], place: Place, limit: timedelta | None, patience: float | None
) -> None:
    it = TimeLimit(limit, place)
    running: dict[asyncio.Task[None], float] = {}
    it.wait(running, task, BEGAN)

    it.stop(running, BEGAN + (patience or 10_000_000.0))
    assert not it.has_stopped(task)
    it.stop(running, BEGAN + (patience or 10_000_000.0) + 0.1)

    assert it.has_stopped(task) is (patience is not None)
    assert not it.has_begun(task)


async def test_what_has_begun_has_its_own_time(task: asyncio.Task[None]) -> None:
    it = TimeLimit(SECOND, "thread")
    running: dict[asyncio.Task[None], float] = {}
    it.wait(running, task, BEGAN)

    await asyncio.to_thread(call_beginning.tell)
    await asyncio.sleep(0)

    assert it.has_begun(task)
    it.stop(running, running[task] + 0.1)
    assert it.has_stopped(task)


async def test_a_beginning_that_is_told_late_is_not_that_of_the_next(
    task: asyncio.Task[None],
) -> None:
    it = TimeLimit(SECOND, "thread")
    running: dict[asyncio.Task[None], float] = {}
    it.wait(running, task, BEGAN)
    tell = call_beginning.on_beginning.get()
    assert tell is not None
    tell()
    it.wait(running, task, BEGAN)
    await asyncio.sleep(0)

    assert not it.has_begun(task)
