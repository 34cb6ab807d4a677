"""Items of scatters go when they are kept no longer, also beneath a value that stays current."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from flowstone import FlowStone, Pipeline, Retention
from flowstone.core.contracts.store import Pruned
from flowstone.core.errors import RunFailedError
from flowstone.plugins.scatter import Batch, Scattered, batch, scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.operations import (
    ScatterEndedError,
    ScatterOperations,
    ScatterProgress,
)
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import ItemRecord, NewBarrier
from tests.application.conftest import on_postgres
from tests.application.stage import Stage

WEEK = Retention("30d", failed="90d", items="7d")


async def pruned(app: FlowStone, retention: Retention = WEEK, *, limit: int = 1000) -> Pruned:
    total = Pruned(is_done=False)
    while not total.is_done:
        total += await app.store.prune(retention, limit=limit)
    return total


async def newest(app: FlowStone) -> ScatterProgress:
    return (await app.coordinator(ScatterOperations).scatters(limit=1))[0]


async def items_of(app: FlowStone) -> Sequence[ItemRecord]:
    barrier_id = (await newest(app)).materialization_id
    return await app.coordinator(ScatterCoordinator).gather(barrier_id, statuses=None)


def a_pipeline() -> Pipeline:
    pipeline = Pipeline("p")

    @pipeline.asset
    @scatter(range(25), failure_mode="partial", failure_threshold=0.5, max_attempts=1)
    async def each(number: int) -> int:
        if number < 3:
            raise ValueError("small")
        return number

    @pipeline.asset
    @scatter(range(25), mode="distributed")
    @batch(max_items=5, input="shared")
    async def batched(numbers: Batch[int, str]) -> int:
        return len(numbers.items)

    @pipeline.asset
    @scatter([1], max_attempts=1)
    async def failing(number: int) -> None:
        raise ValueError("no")

    return pipeline


async def test_items_go_a_while_after_their_run_and_the_counts_stay(stage: Stage) -> None:
    app = await stage.app(a_pipeline())
    value = await app.run("each")
    await stage.advance(timedelta(days=6))
    assert (await pruned(app)).items == 0
    assert len(await items_of(app)) == 25
    assert (await newest(app)).items_pruned_at is None

    assert (await app.store.prunable(WEEK)).items == 0

    await stage.advance(timedelta(days=2))
    assert (await app.store.prunable(WEEK)).items == 25
    assert (await pruned(app)).items == 25
    assert (await app.store.prunable(WEEK)).items == 0

    after = await newest(app)
    assert (after.total, after.completed, after.failed) == (25, 22, 3)
    assert (after.status, after.percent) == ("partial_failure", 100.0)
    assert after.items_pruned_at is not None
    assert not await items_of(app)
    operations = app.coordinator(ScatterOperations)
    assert await operations.failures(after.materialization_id) == []
    with pytest.raises(ScatterEndedError):
        await operations.retry_failed(after.materialization_id)
    assert await app.get("each") == value == Scattered(25, 22, 3)
    assert await pruned(app) == Pruned()


async def test_what_is_kept_of_batches_and_pages_goes_with_them(stage: Stage) -> None:
    app = await stage.app(a_pipeline())
    await app.run("batched")
    await stage.advance(timedelta(days=8))

    # Five batches, the keys of what is in them, and a page.
    assert (await app.store.prunable(WEEK)).items == 5 + 25 + 1
    assert (await pruned(app)).items == 5 + 25 + 1

    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = (await newest(app)).materialization_id
    assert await coordinator.children(barrier_id) == []
    feed = await coordinator.feed(barrier_id)
    assert feed is not None
    assert (feed.input, feed.progress) == (None, None)


async def test_items_outlive_neither_their_run_nor_a_value_that_is_kept(stage: Stage) -> None:
    app = await stage.app(a_pipeline())
    await app.run("each")
    await stage.advance(timedelta(days=31))

    assert (await app.store.prunable(Retention("30d", items=None))).items == 25
    went = await pruned(app, Retention("30d", items=None))

    assert (went.runs, went.items) == (1, 25)
    assert (await newest(app)).items_pruned_at is not None
    assert await app.exists("each")


async def test_items_of_a_failed_run_go_too(stage: Stage) -> None:
    app = await stage.app(a_pipeline())
    with pytest.raises(RunFailedError):
        await app.run("failing")
    await stage.advance(timedelta(days=8))

    assert (await pruned(app)).items == 1
    assert len(await app.store.runs(limit=10)) == 1


async def test_items_of_a_run_that_is_open_stay(stage: Stage) -> None:
    app = await stage.app(a_pipeline())
    handle = await app.enqueue("each")
    [row] = await app.store.materializations(handle.run_id)
    coordinator = app.coordinator(ScatterCoordinator)
    await coordinator.create(NewBarrier(row.id, handle.run_id, "p.each", "", ScatterOptions()))
    await stage.advance(timedelta(days=1000))
    assert await pruned(app) == Pruned()

    await handle.cancel()
    await stage.advance(timedelta(days=8))
    await pruned(app)

    progress = await newest(app)
    assert (progress.status, progress.items_pruned_at is None) == ("cancelled", False)
    assert progress.finished_at is not None


@on_postgres
async def test_a_call_prunes_few_of_them(stage: Stage) -> None:
    app = await stage.app(a_pipeline())
    await app.run("each")
    await stage.advance(timedelta(days=8))

    calls = []
    while not calls or not calls[-1].is_done:
        calls.append(await app.store.prune(WEEK, limit=2))

    assert [it.items for it in calls if it.items] == [20, 5]
