"""Scatters whose pages are children of their own: told apart, counted, gathered page by page."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from flowstone import FlowStone, Pipeline, Retry, RunFailedError, reader
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.contracts.store import Key
from flowstone.plugins.scatter import Batch, Results, batch, scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.records import BarrierState, ChildStatus
from tests.application.stage import Stage
from tests.core.numbers_reader import At, Numbers


async def barrier_of(app: FlowStone, asset: str) -> int:
    [latest] = await app.store.history(Key(asset, ""), limit=1)
    return latest.id


async def children_of(app: FlowStone, asset: str) -> Sequence[ChildStatus]:
    return await app.coordinator(ScatterCoordinator).children(await barrier_of(app, asset))


def squares(of: Any, **config: Any) -> Pipeline:
    """A pipeline that squares what a reader gives, in pages of two."""
    p = Pipeline("p")

    def numbers() -> ItemSource[Mapping[str, int]]:
        return reader(of, **config)

    async def pages(results: Results[int, int]) -> list[list[int]]:
        return [[it.value for it in page.completed] async for page in results.pages()]

    @p.asset(retry=Retry(3, base="1ms", jitter=False))
    @scatter(numbers, select=lambda it: it["value"], gather=pages, mode="distributed", batch_size=2)
    async def squared(number: int) -> int:
        return number * number

    return p


@pytest.mark.conformance(249)
async def test_each_page_is_a_child_and_the_parent_completes_and_gathers_them(
    stage: Stage,
) -> None:
    app = await stage.app(squares(Numbers, upto=3))

    assert await app.run("squared") == [[1, 4], [9]]

    children = await children_of(app, "p.squared")
    assert [(it.batch_index, it.total, it.completed, it.failed) for it in children] == [
        (0, 2, 2, 0),
        (1, 1, 1, 0),
    ]
    assert {it.state for it in children} == {BarrierState.COMPLETED}
    coordinator = app.coordinator(ScatterCoordinator)
    parent = await coordinator.status(await barrier_of(app, "p.squared"))
    assert (parent.options.mode, parent.state, parent.total) == (
        "distributed",
        BarrierState.COMPLETED,
        3,
    )
    feed = await coordinator.feed(parent.id)
    assert feed is not None
    assert '"position": {"position": 3}' in str(feed.progress)


class Repeating(Numbers):
    """Gives what it gave before, moved by one: 1 2, 2 3, and at last 1 2 again."""

    async def read(self, state: At, limit: int) -> Any:
        read = await super().read(state, 1)
        first = 1 if read.is_last else read.state.position
        items = [{"value": first}, {"value": first + 1}]
        return type(read)(items, read.state, read.is_last)


async def test_what_an_earlier_page_had_is_not_counted_again(stage: Stage) -> None:
    app = await stage.app(squares(Repeating, upto=3))

    assert await app.run("squared") == [[1, 4], [9]]
    assert [it.total for it in await children_of(app, "p.squared")] == [2, 1]


class Interrupted(Numbers):
    """Loses its connection once, where it stands after some items."""

    at: ClassVar[int]
    positions: ClassVar[list[int]]
    """From where it was to read on."""

    async def read(self, state: At, limit: int) -> Any:
        self.positions.append(state.position)
        if state.position == self.at and self.positions.count(self.at) == 1:
            raise ConnectionResetError("gone")
        return await super().read(state, limit)


@pytest.mark.usefixtures("at_once")
async def test_reading_that_was_interrupted_makes_no_child_twice(stage: Stage) -> None:
    class Once(Interrupted):
        at = 2
        positions: ClassVar[list[int]] = []

    app = await stage.app(squares(Once, upto=5))

    assert await app.run("squared") == [[1, 4], [9, 16], [25]]
    assert [it.total for it in await children_of(app, "p.squared")] == [2, 2, 1]
    assert Once.positions == [0, 2, 2, 4]


async def test_a_child_tells_its_own_failures(stage: Stage) -> None:
    p = Pipeline("p")

    async def failures(results: Results[int, int]) -> list[list[int]]:
        return [[it.item for it in page.failed] async for page in results.pages()]

    @p.asset
    @scatter(
        list(range(6)),
        gather=failures,
        mode="distributed",
        batch_size=2,
        failure_mode="partial",
        failure_threshold=0.5,
        max_attempts=1,
    )
    async def odd(number: int) -> int:
        if number in (2, 3, 4):
            raise ValueError(number)
        return number

    app = await stage.app(p)

    assert await app.run(odd) == [[], [2, 3], [4]]
    assert [it.state for it in await children_of(app, "p.odd")] == [
        BarrierState.COMPLETED,
        BarrierState.FAILED,
        BarrierState.PARTIAL_FAILURE,
    ]


async def test_children_are_listed_page_by_page(stage: Stage) -> None:
    app = await stage.app(squares(Numbers, upto=9))
    await app.run("squared")
    coordinator = app.coordinator(ScatterCoordinator)
    id_ = await barrier_of(app, "p.squared")

    second = await coordinator.children(id_, after=0, limit=2)

    assert [it.batch_index for it in second] == [1, 2]
    assert await coordinator.children(id_, after=4) == []
    assert await coordinator.children(-1) == []


async def test_a_scatter_of_the_other_mode_has_no_pages_and_says_so(stage: Stage) -> None:
    p = Pipeline("p")

    async def pages(results: Results[int, int]) -> int:
        return len([page async for page in results.pages()])

    @p.asset
    @scatter([1, 2], gather=pages)
    async def plain(number: int) -> int:
        return number

    app = await stage.app(p)

    with pytest.raises(RunFailedError, match='mode="distributed"'):
        await app.run(plain)
    assert await children_of(app, "p.plain") == []


def batched(of: Any, *, pages_of: int, **config: Any) -> Pipeline:
    """A pipeline that lists what is in each batch of three, gathered page by page."""
    p = Pipeline("p")

    def numbers() -> ItemSource[Mapping[str, int]]:
        return reader(of, **config)

    async def pages(results: Results[object, list[int]]) -> list[list[list[int]]]:
        return [[it.value for it in page.completed] async for page in results.pages()]

    @p.asset(retry=Retry(3, base="1ms", jitter=False))
    @scatter(
        numbers,
        select=lambda it: it["value"],
        gather=pages,
        mode="distributed",
        batch_size=pages_of,
    )
    @batch(max_items=3)
    async def listed(numbers: Batch[int, None]) -> list[int]:
        return list(numbers)

    return p


class TestBatches:
    async def test_belong_to_the_page_that_filled_them(self, stage: Stage) -> None:
        app = await stage.app(batched(Numbers, pages_of=4, upto=10))

        assert await app.run("listed") == [[[1, 2, 3]], [[4, 5, 6]], [[7, 8, 9], [10]]]

        children = await children_of(app, "p.listed")
        assert [(it.batch_index, it.total, it.completed) for it in children] == [
            (0, 1, 1),
            (1, 1, 1),
            (2, 2, 2),
        ]

    async def test_a_page_that_fills_none_is_no_child(self, stage: Stage) -> None:
        app = await stage.app(batched(Numbers, pages_of=2, upto=5))

        assert await app.run("listed") == [[[1, 2, 3]], [[4, 5]]]
        assert [it.batch_index for it in await children_of(app, "p.listed")] == [0, 1]

    @pytest.mark.usefixtures("at_once")
    async def test_reading_that_was_interrupted_loses_and_repeats_no_item(
        self, stage: Stage
    ) -> None:
        class Once(Interrupted):
            at = 4
            positions: ClassVar[list[int]] = []

        app = await stage.app(batched(Once, pages_of=2, upto=7))

        assert await app.run("listed") == [
            [[1, 2, 3]],
            [[4, 5, 6]],
            [[7]],
        ]
        assert [it.total for it in await children_of(app, "p.listed")] == [1, 1, 1]
        # The second page filled a batch and left an item over, so it is read again.
        assert Once.positions == [0, 2, 4, 2, 4, 6]

    async def test_that_fail_are_told_by_page_with_their_items(self, stage: Stage) -> None:
        p = Pipeline("p")

        async def failures(results: Results[object, int]) -> list[list[object]]:
            return [[it.item for it in page.failed] async for page in results.pages()]

        @p.asset
        @scatter(
            list(range(8)),
            gather=failures,
            mode="distributed",
            batch_size=4,
            failure_mode="partial",
            failure_threshold=0.75,
            max_attempts=1,
        )
        @batch(max_items=2)
        async def summed(numbers: Batch[int, None]) -> int:
            if set(numbers) & {3, 4, 7}:
                raise ValueError("bad")
            return sum(numbers)

        app = await stage.app(p)

        assert await app.run(summed) == [[[2, 3]], [[4, 5], [6, 7]]]
        assert [it.state for it in await children_of(app, "p.summed")] == [
            BarrierState.PARTIAL_FAILURE,
            BarrierState.FAILED,
        ]
