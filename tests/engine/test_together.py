"""Calls that come at once are answered together, and each as if it had come alone."""

import asyncio
from collections.abc import Sequence

import pytest

from flowstone.core.errors import DatabaseError, DatabaseUnreachableError
from flowstone.engine.together import IN_FLIGHT, MOST, MOST_BYTES, Together


class Desk:
    """Answers ten times what it is asked; odd numbers only alone."""

    def __init__(self) -> None:
        self.alone: list[int] = []
        self.many: list[list[int]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.ask = Together(self._answer, size=lambda it: it if it > MOST_BYTES // 4 else 0)

    async def _answer(self, numbers: Sequence[int], waits: bool) -> Sequence[int | None]:
        if waits:
            self.alone += numbers
            await self.gate.wait()
            if numbers[0] < 0:
                raise ValueError(numbers[0])
            return [it * 10 for it in numbers]
        self.many.append([*numbers])
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [None if it % 2 else it * 10 for it in numbers]

    def asked(self, *numbers: int) -> list[asyncio.Task[int]]:
        async def one(number: int) -> int:
            return await self.ask(number)

        return [asyncio.create_task(one(it)) for it in numbers]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def begun(desk: Desk, *numbers: int) -> list[asyncio.Task[int]]:
    """Let all flights be taken, and these come after them."""
    first = desk.asked(*range(1000, 1000 + IN_FLIGHT))
    while len(desk.many) < IN_FLIGHT:
        await asyncio.sleep(0)
    tasks = desk.asked(*numbers)
    await asyncio.sleep(0)
    return [*first, *tasks]


async def test_who_comes_alone_goes_at_once(desk: Desk) -> None:
    desk.gate.set()

    assert [await desk.ask(1), await desk.ask(2)] == [10, 20]

    assert (desk.alone, desk.many) == ([1], [[1], [2]])


async def test_who_comes_while_all_are_away_goes_together(desk: Desk) -> None:
    tasks = await begun(desk, *range(2, 2 * MOST + 4, 2))
    assert desk.many == [[1000], [1001]]
    desk.gate.set()

    found = await asyncio.gather(*tasks)

    assert found[IN_FLIGHT:] == [it * 10 for it in range(2, 2 * MOST + 4, 2)]
    assert [len(it) for it in desk.many[IN_FLIGHT:]] == [MOST, 1]


async def test_what_is_large_goes_with_few_others(desk: Desk) -> None:
    third, whole = MOST_BYTES // 3, 2 * MOST_BYTES
    tasks = await begun(desk, 2, third, third, third, third, whole, 4)
    desk.gate.set()

    await asyncio.gather(*tasks)

    assert desk.many[IN_FLIGHT:] == [[2, third, third, third], [third], [whole], [4]]


async def test_who_got_no_answer_asks_again_alone(desk: Desk) -> None:
    tasks = await begun(desk, 2, 3, 4, -5)
    desk.gate.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert [str(it) for it in found[IN_FLIGHT:]] == ["20", "30", "40", "-5"]
    assert sorted(desk.alone) == [-5, 3, 1001]


async def test_an_error_that_one_has_caused_is_had_by_that_one(desk: Desk) -> None:
    desk.error = DatabaseError("no", sqlstate="22P02")
    tasks = await begun(desk, 2, -4)
    desk.gate.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert [str(it) for it in found[IN_FLIGHT:]] == ["20", "-4"]


async def test_a_database_that_is_away_is_away_for_all(desk: Desk) -> None:
    desk.error = DatabaseUnreachableError("away")
    tasks = await begun(desk, 2, 4)
    desk.gate.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert found[IN_FLIGHT:] == [desk.error] * 2
    assert desk.alone == [], "nobody knows what became of it"


async def test_who_gives_up_takes_nobody_along(desk: Desk) -> None:
    tasks = await begun(desk, 2, 4, 6)
    tasks[0].cancel()
    tasks[IN_FLIGHT].cancel()
    await asyncio.sleep(0)
    desk.gate.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert found[IN_FLIGHT + 1 :] == [40, 60]
    assert desk.many[IN_FLIGHT:] == [[4, 6]]
