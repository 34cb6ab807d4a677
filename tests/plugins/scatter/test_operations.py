"""Scatters are looked at and changed while they run, in memory and on Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from flowstone import FlowStone, Pipeline, Retry
from flowstone.core import rate
from flowstone.core.errors import InvalidOptionError, RunFailedError
from flowstone.plugins.scatter import scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import BarrierNotFoundError
from flowstone.plugins.scatter.operations import (
    ScatterChange,
    ScatterEndedError,
    ScatterOperations,
    ScatterProgress,
)
from flowstone.plugins.scatter.records import PumpTurn, Turned
from tests.application.stage import Stage, eventually


class Held:
    """A scatter whose items run until they are let go."""

    def __init__(self, stage: Stage, app: FlowStone, id_: int, run_id: int) -> None:
        self.stage = stage
        self.app = app
        self.id = id_
        self.run_id = run_id
        self.running: set[int] = set()
        self.failing: set[int] = set()
        self.gates: dict[int, asyncio.Event] = {}
        self.is_open = False
        self.turns = 0

    @property
    def operations(self) -> ScatterOperations:
        return self.app.coordinator(ScatterOperations)

    def open(self) -> None:
        """Let all items end, and those that come."""
        self.is_open = True
        for gate in self.gates.values():
            gate.set()

    async def heard(self) -> None:
        """Wait until the pump has asked anew how many it may run."""
        turns = self.turns + 2  # one may be under way
        await eventually(lambda: self.turns >= turns)

    async def progress(self) -> ScatterProgress:
        return await self.operations.progress(self.id)

    async def until(self, holds: Callable[[ScatterProgress], Any]) -> ScatterProgress:
        async def look() -> ScatterProgress | None:
            try:
                found = await self.progress()
            except BarrierNotFoundError:
                return None  # it has not begun
            return found if holds(found) else None

        found: ScatterProgress = await eventually(look)
        return found


@asynccontextmanager
async def held(stage: Stage, items: int, **options: Any) -> AsyncIterator[Held]:
    """Run a scatter of numbers on a worker; each waits for the gate, some fail."""
    pipeline = Pipeline("p")
    it: Held

    @pipeline.asset
    @scatter(list(range(items)), max_attempts=1, **options)
    async def each(number: int) -> int:
        if number not in it.failing:
            it.running.add(number)
            if not it.is_open:
                await it.gates.setdefault(number, asyncio.Event()).wait()
            it.running.discard(number)
        if number in it.failing:
            raise ValueError(f"bad {number % 2}")
        return number

    app = await stage.app(pipeline)
    handle = await app.enqueue(each)
    [row] = await app.store.materializations(handle.run_id)
    it = Held(stage, app, row.id, handle.run_id)
    it.failing = set(range(3))
    coordinator = app.coordinator(ScatterCoordinator)
    turn = coordinator.turn

    async def counted(given: PumpTurn) -> Turned:
        turned = await turn(given)
        it.turns += 1
        return turned

    coordinator.turn = counted  # type: ignore[method-assign]
    worker = app.worker()
    working = asyncio.create_task(worker.run())
    try:
        yield it
    finally:
        it.open()
        await handle.cancel()
        worker.stop()
        await working


class TestProgress:
    async def test_says_how_far_it_is_how_fast_and_how_long_it_will_take(
        self, stage: Stage
    ) -> None:
        async with held(stage, 5, failure_mode="partial", failure_threshold=1.0) as it:
            found = await it.until(lambda now: now.failed == 3 and now.is_closed)
            assert (found.run_id, found.asset, found.status) == (it.run_id, "p.each", "executing")
            assert (found.total, found.completed, found.expected_total) == (5, 0, 5)
            assert (found.percent, found.failure_rate) == (60.0, 0.6)
            assert found.items_per_s is not None
            assert found.seconds_left is not None
            assert found.seconds_left == pytest.approx(2 * found.seconds / 3, rel=0.01)

            it.open()
            found = await it.until(lambda now: now.finished_at)
            assert (found.status, found.completed, found.seconds_left) == ("partial_failure", 2, 0)

    async def test_does_not_guess_how_many_items_are_still_to_be_read(self, stage: Stage) -> None:
        pipeline = Pipeline("p")
        more = asyncio.Event()

        async def slowly() -> AsyncIterator[int]:
            yield 1
            yield 2
            await more.wait()

        @pipeline.asset
        @scatter(slowly, batch_size=2)
        async def each(number: int) -> None: ...

        app = await stage.app(pipeline)
        handle = await app.enqueue(each)
        working = asyncio.create_task(app.finish(handle))
        operations = app.coordinator(ScatterOperations)

        async def both_done() -> ScatterProgress | None:
            found = await operations.scatters()
            return found[0] if found and found[0].completed == 2 else None

        found: ScatterProgress = await eventually(both_done)
        assert (found.expected_total, found.seconds_left, found.is_closed) == (None, None, False)
        assert (found.percent, found.remark[:19]) == (100.0, "2 of 2 items so far")
        more.set()
        await working
        assert (await operations.scatters())[0].expected_total == 2

    async def test_of_all_scatters_is_listed_newest_first(self, stage: Stage) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter([1])
        async def each(number: int) -> None: ...

        app = await stage.app(pipeline)
        for partition in ("a", "b", "c"):
            await app.run(each, partition=partition)
        operations = app.coordinator(ScatterOperations)
        listed = await operations.scatters()
        assert [it.partition for it in listed] == ["c", "b", "a"]
        older = await operations.scatters(before=listed[0].materialization_id, limit=1)
        assert [it.partition for it in older] == ["b"]
        [own] = await operations.scatters(run_id=listed[2].run_id)
        assert own.partition == "a"

    async def test_of_one_that_is_not_there_is_an_error(self, stage: Stage) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter([1])
        async def each(number: int) -> None: ...

        operations = (await stage.app(pipeline)).coordinator(ScatterOperations)
        for ask in (
            operations.progress(7),
            operations.failures(7),
            operations.change(7, ScatterChange(max_concurrent=3)),
            operations.retry_failed(7),
        ):
            with pytest.raises(BarrierNotFoundError):
                await ask


class TestFailures:
    async def test_are_grouped_by_error_the_most_frequent_first(self, stage: Stage) -> None:
        async with held(stage, 5, failure_mode="partial", failure_threshold=1.0) as it:
            await it.until(lambda now: now.failed == 3)
            groups = await it.operations.failures(it.id)
            assert [(g.error_type, g.items, g.first_index) for g in groups] == [
                ("ValueError", 2, 0),
                ("ValueError", 1, 1),
            ]
            assert str(groups[0].error_message).endswith("bad 0")
            assert len(await it.operations.failures(it.id, limit=1)) == 1

    async def test_are_tried_once_more_while_the_scatter_runs(self, stage: Stage) -> None:
        async with held(stage, 5, failure_mode="partial", failure_threshold=1.0) as it:
            await it.until(lambda now: now.failed == 3)
            it.failing = {0}
            assert await it.operations.retry_failed(it.id) == 3
            # Nobody waits for what still runs: another pump, or the one that is there, takes them.
            await it.until(lambda now: (now.failed, now.retried) == (1, 3))
            await eventually(lambda: it.running == {1, 2, 3, 4})
            it.open()
            found = await it.until(lambda now: now.finished_at)
            assert (found.completed, found.failed) == (4, 1)

    async def test_of_one_that_has_ended_stay(self, stage: Stage) -> None:
        async with held(stage, 5) as it:
            found = await it.until(lambda now: now.finished_at)
            assert found.status == "failed"
            with pytest.raises(ScatterEndedError, match=f"flowstone runs retry {it.run_id}"):
                await it.operations.retry_failed(it.id)
            with pytest.raises(ScatterEndedError):
                await it.operations.change(it.id, ScatterChange(failure_threshold=1.0))


async def test_one_whose_run_was_cancelled_while_nobody_pumped_is_cancelled(stage: Stage) -> None:
    pipeline = Pipeline("p")

    @pipeline.asset
    @scatter([1, 2], retry_strategy=Retry(2, base="1h"), failure_mode="partial")
    async def each(number: int) -> int:
        raise ConnectionError(str(number))

    app = await stage.app(pipeline)
    handle = await app.enqueue(each)
    working = asyncio.create_task(app.finish(handle))
    [row] = await app.store.materializations(handle.run_id)
    operations = app.coordinator(ScatterOperations)

    async def both_wait() -> bool:
        found = await operations.scatters()
        return bool(found) and found[0].retried == 2

    await eventually(both_wait)
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await handle.cancel()

    found = await operations.progress(row.id)
    assert found.status == "cancelled"
    assert found.finished_at is not None
    with pytest.raises(ScatterEndedError, match="cancelled"):
        await operations.retry_failed(row.id)
    with pytest.raises(ScatterEndedError, match="cancelled"):
        await operations.change(row.id, ScatterChange(max_concurrent=3))


class TestChanges:
    async def test_of_concurrency_hold_from_the_next_items_on(self, stage: Stage) -> None:
        options = {"failure_mode": "partial", "failure_threshold": 1.0, "max_concurrent": 2}
        async with held(stage, 30, **options) as it:
            await eventually(lambda: len(it.running) == 2)
            found = await it.operations.change(it.id, ScatterChange(max_concurrent=5))
            assert found.max_concurrent == 5
            status = await it.app.coordinator(ScatterCoordinator).status(it.id)
            assert status.options.max_concurrent == 5
            await eventually(lambda: len(it.running) == 5)
            found = await it.operations.change(it.id, ScatterChange(max_concurrent=None))
            assert found.max_concurrent is None
            await eventually(lambda: len(it.running) == 27)

    async def test_to_less_let_what_runs_end_and_begin_nothing_until_it_is_below(
        self, stage: Stage
    ) -> None:
        options = {"failure_mode": "partial", "failure_threshold": 1.0, "max_concurrent": 5}
        async with held(stage, 30, **options) as it:
            await eventually(lambda: len(it.running) == 5)
            first = set(it.running)
            await it.operations.change(it.id, ScatterChange(max_concurrent=2))
            await it.heard()
            for left, number in zip((4, 3, 2), sorted(first), strict=False):
                it.gates[number].set()
                await it.until(lambda now, left=left: now.completed == 5 - left)
                assert it.running < first
                assert len(it.running) == left
            it.gates[sorted(first)[3]].set()
            await eventually(lambda: len(it.running - first) == 1)
            assert len(it.running) == 2

    async def test_of_a_rate_are_kept_and_removed(self, stage: Stage) -> None:
        async with held(stage, 30, failure_mode="partial", failure_threshold=1.0) as it:
            await it.until(lambda now: now.failed == 3)
            found = await it.operations.change(it.id, ScatterChange(rate=rate.parse("5/10s")))
            assert str(found.rate) == "5/10s"
            assert found.max_concurrent is None
            found = await it.operations.change(it.id, ScatterChange(rate=None))
            assert found.rate is None

    async def test_to_a_threshold_that_is_passed_end_the_scatter(self, stage: Stage) -> None:
        async with held(stage, 5, failure_mode="partial", failure_threshold=1.0) as it:
            await it.until(lambda now: now.failed == 3 and now.is_closed)
            found = await it.operations.change(it.id, ScatterChange(failure_threshold=0.6))
            assert (found.status, found.failure_threshold) == ("executing", 0.6)
            found = await it.operations.change(it.id, ScatterChange(failure_threshold=0.5))
            assert found.status == "failed"
            handle = it.app.handle(it.run_id)
            with pytest.raises(RunFailedError, match=r"failure_threshold=0\.5 tolerates"):
                await handle.result(timeout=60)

    @pytest.mark.parametrize("wrong", [{"max_concurrent": 0}, {"failure_threshold": 1.5}])
    def test_to_what_is_no_limit_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
            ScatterChange(**wrong)
