"""Scatters over both stores: items in, results gathered, and what goes wrong on the way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from flowstone import Context, Dep, Pipeline, Retry
from flowstone.core.errors import RunCancelledError, RunFailedError
from flowstone.core.worker_options import WorkerOptions
from flowstone.plugins.scatter import Results, Scattered, scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import ReadingFailedError, ThresholdExceededError
from flowstone.plugins.scatter.records import BarrierState
from tests.application.stage import Stage, eventually, working

NOW = Retry(3, base=0, jitter=False)


async def values_of(results: Results[object, object]) -> list[object]:
    return [it.value async for it in results]


@pytest.mark.conformance(240)
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

    @sales.asset
    @scatter(words, gather=values_of)
    async def shouted(word: str) -> str:
        return word.upper()

    app = await stage.app(sales)

    assert await app.run(shouted) == ["A", "B"]


async def test_items_may_be_an_assets_value(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    async def numbers() -> list[int]:
        return [1, 2]

    @sales.asset
    @scatter(numbers)
    async def each(number: int) -> int:
        return number

    app = await stage.app(sales)

    assert await app.run(each) == Scattered(2, 2, 0)


@dataclass(frozen=True)
class Page:
    url: str
    number: int


async def test_items_are_typed_and_told_apart_by_their_key(stage: Stage) -> None:
    sales = Pipeline("sales")

    def pages() -> Iterator[tuple[str, int]]:
        yield from (("a", 1), ("a", 2), ("b", 3))

    async def keys(results: Results[Page, int]) -> list[tuple[object, Page, int]]:
        return [(it.key, it.item, it.value) async for it in results]

    @sales.asset
    @scatter(pages, gather=keys, select=lambda it: Page(*it), key=lambda page: {"at": page.url})
    async def sizes(page: Page) -> int:
        return page.number

    app = await stage.app(sales)

    assert await app.run(sizes) == [
        ({"at": "a"}, Page("a", 1), 1),
        ({"at": "b"}, Page("b", 3), 3),
    ]


@pytest.mark.parametrize("count", [0, 1])
async def test_few_items_are_enough(stage: Stage, count: int) -> None:
    sales = Pipeline("sales")

    @sales.asset
    @scatter(list(range(count)), gather=values_of)
    def each(number: int) -> int:
        return number

    app = await stage.app(sales)

    assert await app.run(each) == list(range(count))


async def test_an_item_that_fails_is_tried_again_by_itself(stage: Stage) -> None:
    sales = Pipeline("sales")
    calls: Counter[int] = Counter()

    @sales.asset
    @scatter([1, 2, 3], gather=values_of, retry_strategy=NOW)
    async def each(number: int) -> int:
        calls[number] += 1
        if number == 2 and calls[2] < 3:
            raise ValueError("not yet")
        return number

    app = await stage.app(sales)

    assert await app.run(each) == [1, 2, 3]
    assert calls == {1: 1, 2: 3, 3: 1}


@pytest.mark.conformance(227)
async def test_failures_up_to_the_threshold_are_tolerated(stage: Stage) -> None:
    sales = Pipeline("sales")

    async def told(results: Results[int, int]) -> list[str]:
        failed = [it.error.message async for it in results.failed() if it.error is not None]
        return [f"{results.completed_count} of {results.total}", *failed]

    @sales.asset
    @scatter(range(4), gather=told, failure_mode="partial", failure_threshold=0.25, max_attempts=1)
    async def each(number: int) -> int:
        if number == 2:
            raise ValueError("no twos")
        return number

    app = await stage.app(sales)

    first, message = await app.run(each)
    assert first == "3 of 4"
    assert "no twos" in message


async def test_more_failures_fail_the_asset_with_the_first_of_them(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    @scatter(range(3), gather=values_of, max_attempts=1)
    async def each(number: int) -> int:
        raise ValueError(f"no {number}")

    app = await stage.app(sales)

    with pytest.raises(RunFailedError) as failed:
        await app.run(each)
    assert isinstance(failed.value.__cause__, ThresholdExceededError)
    assert "no " in str(failed.value.__cause__)


async def test_a_reader_that_fails_halfway_fails_the_asset(stage: Stage) -> None:
    sales = Pipeline("sales")

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("boom")

    @sales.asset
    @scatter(broken, gather=values_of)
    async def each(number: int) -> int:
        return number

    app = await stage.app(sales)

    with pytest.raises(RunFailedError) as failed:
        await app.run(each)
    assert isinstance(failed.value.__cause__, ReadingFailedError)
    assert "boom" in str(failed.value.__cause__)


async def test_an_item_takes_no_longer_than_it_may(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    @scatter([1], gather=values_of, timeout=0.05, max_attempts=1)
    async def each(number: int) -> int:
        await asyncio.sleep(60)
        return number

    app = await stage.app(sales)

    with pytest.raises(RunFailedError) as failed:
        await app.run(each)
    assert "timed out" in str(failed.value.__cause__)


async def test_no_more_items_run_at_once_than_allowed(stage: Stage) -> None:
    sales = Pipeline("sales")
    running, most = 0, 0

    @sales.asset
    @scatter(range(40), gather=values_of, max_concurrent=4)
    async def each(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return number

    app = await stage.app(sales)

    assert len(await app.run(each)) == 40
    assert most == 4


async def test_items_start_no_faster_than_the_rate_says(stage: Stage) -> None:
    sales = Pipeline("sales")
    starts: list[float] = []

    @sales.asset
    @scatter(range(8), gather=values_of, rate_limit="40/s")
    async def each(number: int) -> int:
        starts.append(asyncio.get_running_loop().time())
        return number

    app = await stage.app(sales)

    await app.run(each)
    # Each has a time of its own, and may be late for it by as much as the spacing has to spare.
    assert starts[-1] - starts[0] >= 4 / 40


async def test_a_slow_item_holds_up_nothing_but_itself(stage: Stage) -> None:
    sales = Pipeline("sales")
    others: set[int] = set()
    all_others_done = asyncio.Event()

    @sales.asset
    @scatter(range(2500), gather=values_of)
    async def each(number: int) -> int:
        if number == 0:
            await all_others_done.wait()
        others.add(number)
        if len(others) == 2499:
            all_others_done.set()
        return number

    app = await stage.app(sales)

    assert len(await app.run(each)) == 2500


async def test_two_scatters_of_one_run_go_on_at_once(stage: Stage) -> None:
    sales = Pipeline("sales")
    both = asyncio.Barrier(2)

    @sales.asset
    @scatter([1], gather=values_of)
    async def one(number: int) -> int:
        await both.wait()
        return number

    @sales.asset
    @scatter([2], gather=values_of)
    async def other(number: int) -> int:
        await both.wait()
        return number

    app = await stage.app(sales)

    assert await app.run([one, other]) == [[1], [2]]


async def test_each_partition_has_its_own_items(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    @scatter([1, 2], gather=values_of)
    async def each(number: int, ctx: Context[str]) -> str:
        return f"{ctx.partition}{number}"

    app = await stage.app(sales)

    assert await app.run(each, partition="a") == ["a1", "a2"]
    assert await app.run(each, partition="b") == ["b1", "b2"]


async def test_cancelling_the_run_stops_the_items(stage: Stage) -> None:
    sales = Pipeline("sales")
    begun, stopped = asyncio.Event(), 0

    @sales.asset
    @scatter(range(3), gather=values_of, max_concurrent=1)
    async def each(number: int) -> int:
        nonlocal stopped
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped += 1
            raise
        return number

    app = await stage.app(sales)
    async with working(app):
        handle = await app.enqueue(each)
        await asyncio.wait_for(begun.wait(), 10)
        await handle.cancel()

        with pytest.raises(RunCancelledError):
            await handle.result(timeout=60)
        coordinator = app.coordinator(ScatterCoordinator)
        [it] = await app.store.materializations(handle.run_id)
        assert (await coordinator.status(it.id)).state is BarrierState.CANCELLED
    assert stopped == 1


async def test_nobody_is_shown_who_assists(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    @scatter(range(3), gather=values_of)
    async def each(number: int) -> int:
        return number

    app = await stage.app(sales)
    await app.run(each)

    [run] = await app.store.runs()
    assert sum(run.counts.values()) == 1
    assert len(await app.store.materializations(run.run_id)) == 1


async def test_small_work_in_the_same_queue_gets_its_turn(stage: Stage) -> None:
    sales = Pipeline("sales")
    is_done = asyncio.Event()

    def endless() -> Iterator[int]:
        number = 0
        while not is_done.is_set():
            yield number
            number += 1

    @sales.asset
    @scatter(endless, batch_size=10)
    async def huge(number: int) -> int:
        await asyncio.sleep(0.001)
        return number

    @sales.asset
    async def small() -> str:
        is_done.set()
        return "done"

    app = await stage.app(sales)
    async with working(app, default=1):
        first = await app.enqueue(huge)
        coordinator = app.coordinator(ScatterCoordinator)

        async def has_begun() -> bool:
            [it] = await app.store.materializations(first.run_id)
            return it.waiting_on == "scatter" and (await coordinator.status(it.id)).completed > 0

        await eventually(has_begun)
        second = await app.enqueue(small)

        assert await second.result(timeout=60) == "done"
        await first.result(timeout=60)


async def test_what_a_stopped_worker_had_is_finished_by_another(stage: Stage) -> None:
    sales = Pipeline("sales")
    calls: Counter[int] = Counter()
    go_on = asyncio.Event()

    @sales.asset
    @scatter(range(30), gather=values_of, max_concurrent=5)
    async def each(number: int) -> int:
        calls[number] += 1
        if number >= 10:
            await go_on.wait()
        return number

    app = await stage.app(sales)
    handle = await app.enqueue(each)
    options = WorkerOptions(queues={"default": 2}, shutdown_timeout=WorkerOptions().lease / 1000)
    worker = app.worker(options)
    run = asyncio.create_task(worker.run())
    await eventually(lambda: calls[14] > 0)
    worker.stop()
    await run
    go_on.set()
    async with working(app):
        result = await handle.result(timeout=60)

    assert result == list(range(30))
    assert {calls[number] for number in range(10)} == {1}
