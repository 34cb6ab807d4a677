"""A worker stops once it has done enough, and what it had claimed beyond that goes back."""

import asyncio

import pytest

from flowstone.core import recycling
from flowstone.core.recycling import Recycling, resident_bytes


class Stops:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_so_many_attempts_are_enough_and_told_once() -> None:
    stop = Stops()
    recycling_ = Recycling(2, None, stop)

    recycling_.count()
    assert (stop.count, recycling_.is_due) == (0, False)
    for _ in range(3):
        recycling_.count()

    assert (stop.count, recycling_.is_due) == (1, True)


async def test_too_much_memory_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([5, 9, 10, 11])
    monkeypatch.setattr(recycling, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(recycling, "resident_bytes", lambda: next(used))
    stop = Stops()

    async with asyncio.timeout(30):
        await Recycling(None, 10, stop).watch_memory()

    assert stop.count == 1
    assert next(used, None) is None


async def test_without_limits_nothing_is_looked_at() -> None:
    stop = Stops()
    recycling_ = Recycling(None, None, stop)

    recycling_.count()
    await recycling_.watch_memory()

    assert stop.count == 0


def test_memory_is_that_of_now() -> None:
    before = resident_bytes()
    block = bytearray(b"x" * 64 * 2**20)

    assert resident_bytes() - before > 48 * 2**20
    assert block
