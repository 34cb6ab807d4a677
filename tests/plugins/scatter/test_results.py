"""What a ``gather`` function reads of its results: the same as an async one and as a plain one."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from flowstone import Pipeline, reader
from flowstone.core.contracts.item_source import ItemSource
from flowstone.plugins.scatter import Results, ResultsPage, scatter
from flowstone.plugins.scatter import results as results_module
from tests.application.stage import Stage
from tests.core.numbers_reader import Numbers

Told = dict[str, list[int]]


async def told(results: Results[int, int]) -> Told:
    return {
        "itself": [it.item async for it in results],
        "completed": [it.item async for it in results.completed()],
        "failed": [it.item async for it in results.failed()],
        "all": [it.item async for it in results.all()],
        "values": [it async for it in results.values()],
        "pages": [it async for page in results.pages() for it in of_page(page)],
    }


def told_plainly(results: Results[int, int]) -> Told:
    return {
        "itself": [it.item for it in results],
        "completed": [it.item for it in results.completed()],
        "failed": [it.item for it in results.failed()],
        "all": [it.item for it in results.all()],
        "values": [*results.values()],
        "pages": [it for page in results.pages() for it in of_page(page)],
    }


def of_page(page: ResultsPage[int, int]) -> list[int]:
    return [-page.index, *(it.item for it in (*page.completed, *page.failed))]


@pytest.mark.parametrize("gather", [told, told_plainly])
async def test_all_that_results_give_is_read_by_both_kinds_of_functions(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    gather: Callable[[Results[int, int]], Awaitable[Told]],
) -> None:
    monkeypatch.setattr(results_module, "PAGE_ITEMS", 2)
    p = Pipeline("p")

    def numbers() -> ItemSource[Mapping[str, int]]:
        return reader(Numbers, upto=5)

    @p.asset
    @scatter(
        numbers,
        select=lambda it: it["value"],
        gather=gather,
        mode="distributed",
        batch_size=3,
        max_attempts=1,
        failure_mode="partial",
        failure_threshold=0.5,
    )
    async def each(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number * 10

    app = await stage.app(p)

    assert await app.run(each) == {
        "itself": [1, 3, 4, 5],
        "completed": [1, 3, 4, 5],
        "failed": [2],
        "all": [1, 2, 3, 4, 5],
        "values": [10, 30, 40, 50],
        "pages": [0, 1, 3, 2, -1, 4, 5],
    }
