"""Scatters over both stores: items in, results gathered, and what goes wrong on the way."""

from collections.abc import AsyncIterator

from flowstone import Dep, Pipeline
from flowstone.plugins.scatter import Results, scatter
from tests.application.stage import Stage


async def test_items_are_computed_one_by_one_and_their_results_gathered(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    async def numbers() -> list[int]:
        return [1, 2, 3]

    def each(given: list[int] = Dep(numbers)) -> list[int]:
        return given

    async def total(results: Results[int, int]) -> int:
        return sum([it.value async for it in results])

    @sales.asset
    @scatter(each, gather=total)
    async def doubled(number: int) -> int:
        return 2 * number

    @sales.asset
    async def report(value: int = Dep(doubled)) -> str:
        return f"total {value}"

    app = await stage.app(sales)

    assert await app.run(report) == "total 12"
    assert await app.get(doubled) == 12


async def test_items_may_come_from_an_async_generator(stage: Stage) -> None:
    sales = Pipeline("sales")

    async def words() -> AsyncIterator[str]:
        for word in ("a", "b", "a"):
            yield word

    async def joined(results: Results[str, str]) -> list[str]:
        return [it.value async for it in results]

    @sales.asset
    @scatter(words, gather=joined)
    async def shouted(word: str) -> str:
        return word.upper()

    app = await stage.app(sales)

    assert await app.run(shouted) == ["A", "B"]
