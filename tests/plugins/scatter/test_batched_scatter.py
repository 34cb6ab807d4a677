"""A scatter over batches: a batch is to it what an item is without."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from flowstone import Context, Dep, FlowStone, Pipeline, Retry, Snooze
from flowstone.core.errors import DefinitionError, RunFailedError
from flowstone.core.telemetry import PREFIX
from flowstone.plugins.scatter import Batch, ItemResult, Results, batch, scatter
from flowstone.plugins.scatter.batches import batch_key
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.item_key import serialize, stored_hash
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import NewBarrier, NewItem
from tests.application.stage import Stage

PAGE = 20


@dataclass(frozen=True)
class Doc:
    id: int


@dataclass(frozen=True)
class Shared:
    env: str


async def listed(results: Results[object, Any]) -> list[Any]:
    return [it.value async for it in results]


async def told(results: Results[object, Any]) -> list[list[object]]:
    return [_told(it) async for it in results.all()]


def _told(it: ItemResult[object, Any]) -> list[object]:
    if it.error is not None:
        return [it.index, it.error.type, it.error.message]
    return [it.index, it.value, list(it.errors)]


async def test_a_selection_that_stops_leaves_no_items_out(stage: Stage) -> None:
    pipeline = Pipeline("p")

    def first_even(numbers: list[int]) -> int:
        return next(it for it in numbers if it % 2 == 0)

    @pipeline.asset
    @scatter([[2], [1], [4]], select=first_even, gather=listed)
    @batch(max_items=2)
    async def evens(b: Batch[int, None]) -> int:
        return sum(b)

    app = await stage.app(pipeline)

    with pytest.raises(RunFailedError, match="StopIteration"):
        await app.run(evens)


class TestABatch:
    @pytest.mark.conformance(288, 290, 291)
    async def test_has_typed_items_its_place_and_what_all_share(self, stage: Stage) -> None:
        pipeline = Pipeline("p")
        calls: list[str] = []
        seen: dict[int, Batch[Doc, Shared]] = {}

        @pipeline.asset
        async def env() -> str:
            return "test"

        async def shared(ctx: Context[str], env: str = Dep(env)) -> Shared:
            calls.append(ctx.partition)
            return Shared(env)

        @pipeline.asset
        @scatter([Doc(1), Doc(2), Doc(3), Doc(4), Doc(5)], gather=listed)
        @batch(max_items=2, input=shared)
        async def summed(b: Batch[Doc, Shared]) -> str:
            seen[b.index] = b
            return f"{sum(it.id for it in b)} {b.input.env}"

        app = await stage.app(pipeline)
        assert await app.run(summed, partition="eu") == ["3 test", "7 test", "5 test"]
        assert calls == ["eu"]
        assert [seen[place].items for place in range(3)] == [
            (Doc(1), Doc(2)),
            (Doc(3), Doc(4)),
            (Doc(5),),
        ]
        assert {it.count for it in seen.values()} == {3}

    @pytest.mark.conformance(286, 287)
    @pytest.mark.parametrize(
        ("given", "got"), [(lambda: {"env": "test"}, {"env": "test"}), (None, None), (["a"], ["a"])]
    )
    async def test_is_a_row_with_its_items_and_the_key_of_a_batch(
        self, stage: Stage, given: object, got: object
    ) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter([{"id": number} for number in range(5)])
        @batch(max_items=2, input=given)
        async def looked(b: Batch[dict[str, int], object]) -> object:
            return b.input

        app = await stage.app(pipeline)
        handle = await app.enqueue(looked)
        assert (await app.finish(handle)).total == 3
        coordinator = app.coordinator(ScatterCoordinator)
        [row] = await app.store.materializations(handle.run_id)
        rows = await coordinator.gather(row.id)
        assert [(it.index, it.key) for it in rows] == [
            (0, '{"_batch":true,"index":0,"item_count":2}'),
            (1, '{"_batch":true,"index":1,"item_count":2}'),
            (2, '{"_batch":true,"index":2,"item_count":1}'),
        ]
        assert rows[0].item == '[{"id":0},{"id":1}]'
        feed = await coordinator.feed(row.id)
        assert feed is not None
        assert feed.is_batched
        codec_decode = app.codec.decode
        assert (None if feed.input is None else codec_decode(feed.input, object)) == got
        assert [codec_decode(it.result or "", object) for it in rows] == [got] * 3

    async def test_takes_an_item_once_however_often_it_comes(self, stage: Stage) -> None:
        pipeline = Pipeline("p")

        def numbers() -> Iterator[int]:
            yield from range(50)
            yield from range(60)

        @pipeline.asset
        @scatter(numbers, gather=listed, batch_size=PAGE)
        @batch(max_items=7)
        async def batched(b: Batch[int, None]) -> list[int]:
            return list(b)

        app = await stage.app(pipeline)
        batches = await app.run(batched)
        assert [it for one in batches for it in one] == list(range(60))
        assert [len(it) for it in batches] == [7] * 8 + [4]


class TestErrors:
    @pytest.mark.conformance(292)
    async def test_of_an_item_fail_its_batch_and_thresholds_count_batches(
        self, stage: Stage
    ) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter(
            list(range(8)),
            gather=told,
            failure_mode="partial",
            failure_threshold=0.5,
            max_attempts=1,
        )
        @batch(max_items=2)
        async def half(b: Batch[int, None]) -> int:
            for item in b:
                with b.item(item):
                    if item in (1, 4):
                        raise ValueError(f"batch failed at {item}")
            return sum(b)

        app = await stage.app(pipeline)
        # Two items of eight, but two batches of four, failed: a rate that is equal is tolerated.
        assert await app.run(half) == [
            [0, "ValueError", "Asset execution failed: ValueError: batch failed at 1"],
            [1, 5, []],
            [2, "ValueError", "Asset execution failed: ValueError: batch failed at 4"],
            [3, 13, []],
        ]

    async def test_of_one_batch_too_many_fail_the_scatter(self, stage: Stage) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter(list(range(8)), failure_mode="partial", failure_threshold=0.3, max_attempts=1)
        @batch(max_items=2)
        async def half(b: Batch[int, None]) -> None:
            if set(b) & {1, 4}:
                raise ValueError("bad")

        app = await stage.app(pipeline)
        with pytest.raises(RunFailedError):
            await app.run(half)

    async def test_that_are_collected_stand_beside_the_result(self, stage: Stage) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter(
            list(range(6)),
            gather=told,
            failure_mode="partial",
            failure_threshold=0.5,
            max_attempts=1,
        )
        @batch(max_items=2, on_item_error="collect_errors")
        async def collected(b: Batch[int, None]) -> int:
            for item in b:
                with b.item(item):
                    if item in (1, 4, 5):
                        raise ValueError(f"bad {item}")
            return len(b) - len(b.errors)

        app = await stage.app(pipeline)
        [first, second, third] = await app.run(collected)
        assert first == [0, 1, [{"index": 1, "type": "ValueError", "message": "bad 1"}]]
        assert second == [1, 2, []]
        # Every item of the third one failed.
        assert third[0] == 2
        assert "each of the 2 items failed" in str(third[2])

    async def test_that_pass_let_the_batch_run_again_whole(self, stage: Stage) -> None:
        pipeline = Pipeline("p")
        attempts: list[int] = []

        @pipeline.asset
        @scatter([1, 2, 3], gather=listed, retry_strategy=Retry(2, base="1ms"))
        @batch(max_items=3)
        async def flaky(b: Batch[int, None]) -> int:
            attempts.append(len(b))
            if len(attempts) == 1:
                raise ConnectionError("not now")
            return sum(b)

        app = await stage.app(pipeline)
        assert await app.run(flaky) == [6]
        assert attempts == [3, 3]


class TestReading:
    @pytest.mark.usefixtures("at_once")
    async def test_that_stops_half_way_goes_on_and_no_item_is_lost_or_in_two_batches(
        self, stage: Stage
    ) -> None:
        pipeline = Pipeline("p")
        reads: list[int] = []

        async def numbers() -> AsyncIterator[int]:
            reads.append(0)
            for number in range(100):
                if number == 70 and len(reads) == 1:
                    raise ConnectionError("the source is away")
                reads[-1] = number
                yield number

        @pipeline.asset(retry=Retry(2, base="1ms"))
        @scatter(numbers, gather=listed, batch_size=PAGE)
        @batch(max_items=15)
        async def batched(b: Batch[int, None]) -> list[int]:
            return list(b)

        app = await stage.app(pipeline)
        batches = await app.run(batched)
        assert sorted(it for one in batches for it in one) == list(range(100))
        assert reads == [69, 99]

    async def test_that_fails_in_a_rule_fails_the_scatter_with_what_was_wrong(
        self, stage: Stage
    ) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter([1, 2])
        @batch(split=lambda items: [items[:1]])
        async def lossy(b: Batch[int, None]) -> None: ...

        app = await stage.app(pipeline)
        with pytest.raises(RunFailedError, match="left out 1"):
            await app.run(lossy)


async def test_known_keys_are_those_of_batches_that_are_stored(stage: Stage) -> None:
    pipeline = Pipeline("p")

    @pipeline.asset
    @scatter(list(range(5)))
    @batch(max_items=2)
    async def batched(b: Batch[int, None]) -> None: ...

    app = await stage.app(pipeline)
    handle = await app.enqueue(batched)
    await app.finish(handle)
    coordinator = app.coordinator(ScatterCoordinator)
    [row] = await app.store.materializations(handle.run_id)
    hashes = [stored_hash(serialize(number)) for number in (0, 4, 9)]
    assert set(await coordinator.known(row.id, hashes)) == set(hashes[:2])


@pytest.mark.conformance(289)
async def test_a_batch_is_completed_by_its_own_key(stage: Stage) -> None:
    pipeline = Pipeline("p")

    @pipeline.asset
    @scatter([1, 2])
    @batch(max_items=2)
    async def batched(b: Batch[int, None]) -> None: ...

    app = await stage.app(pipeline)
    handle = await app.enqueue(batched)
    [row] = await app.store.materializations(handle.run_id)
    coordinator = app.coordinator(ScatterCoordinator)
    options = ScatterOptions()
    await coordinator.create(
        NewBarrier(row.id, handle.run_id, "p.batched", "", options, is_batched=True)
    )
    key = batch_key(0, 2)
    await coordinator.insert(row.id, [NewItem.of("[1,2]", key)], closes=True)
    assert await coordinator.complete(row.id, key, "3") == "complete"
    status = await coordinator.status(row.id)
    assert (status.state, status.completed, status.total) == ("completed", 1, 1)


async def test_batches_are_told_with_how_many_items_they_have(stage: Stage) -> None:
    pipeline = Pipeline("p")
    events: list[tuple[str, float | None, object]] = []

    @pipeline.asset
    @scatter(list(range(5)), failure_mode="partial", failure_threshold=1, max_attempts=1)
    @batch(max_items=3)
    async def batched(b: Batch[int, None]) -> Snooze | None:
        if b.index:
            raise ValueError("bad")
        # One that says "not now" is begun again.
        return None if ("scatter.batch_fail", 3, 0) in events else Snooze(0)

    class Listener:
        def execute(
            self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
        ) -> None:
            name = event.removeprefix(PREFIX)
            if name.startswith("scatter.batch"):
                count = measurements.get("item_count", measurements.get("batch_count"))
                events.append((name, count, metadata.get("batch_index")))

    app = await stage.app(pipeline, telemetry=Listener())
    await app.run(batched)
    assert sorted(events, key=str) == [
        ("scatter.batch_complete", 3, 0),
        ("scatter.batch_create", 2, None),
        ("scatter.batch_fail", 2, 1),
        ("scatter.batch_fail", 3, 0),
        ("scatter.batch_start", 2, 1),
        ("scatter.batch_start", 3, 0),
        ("scatter.batch_start", 3, 0),
    ]


async def test_what_batches_share_is_evaluated_once_also_when_the_scatter_is_begun_again(
    stage: Stage,
) -> None:
    pipeline = Pipeline("p")
    calls: list[int] = []

    def shared() -> int:
        calls.append(1)
        return 7

    @pipeline.asset(retry=Retry(2, base="1ms"))
    @scatter([1], gather=listed)
    @batch(input=shared)
    async def batched(b: Batch[int, int]) -> int:
        return b.input

    app = await stage.app(pipeline)
    coordinator = app.coordinator(ScatterCoordinator)
    create = coordinator.create

    async def die_after(barrier: NewBarrier) -> bool:
        coordinator.create = create  # type: ignore[method-assign]
        await create(barrier)
        raise ConnectionError("the worker died")

    coordinator.create = die_after  # type: ignore[method-assign]
    assert await app.run(batched) == [7]
    assert calls == [1]


def test_a_body_that_takes_no_batches_is_refused_with_the_line_to_write() -> None:
    pipeline = Pipeline("p")

    @pipeline.asset
    @scatter([1])
    @batch()  # type: ignore[arg-type]
    async def wrong(item: int) -> None: ...

    with pytest.raises(DefinitionError, match=r"def wrong\(item: Batch\[Item, None\]"):
        FlowStone(pipeline)


def test_batches_do_not_cross_to_a_child_process() -> None:
    pipeline = Pipeline("p")

    @pipeline.asset(executor="process")
    @scatter([1])
    @batch()
    def body(b: Batch[int, None]) -> None: ...

    with pytest.raises(DefinitionError, match="does not cross to a child process"):
        FlowStone(pipeline)
