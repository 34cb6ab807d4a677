"""A worker that dies under its work."""

import asyncio
from collections.abc import Sequence

import pytest

from flowstone import FlowStone, JobContext, Pipeline
from flowstone.core.contracts.store import Capacity, Settlement, Turn, WorkerInfo
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.schema import migrate
from flowstone.testing import Applications, Drained, OwnedClock, crash, drain

FOUR = WorkerOptions(queues={"default": 4})


class Bench:
    """A pipeline whose job says when it begins, and may be held."""

    def __init__(self) -> None:
        self.pipeline = Pipeline("shop")
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.attempts: list[int] = []

        @self.pipeline.job
        async def work(ctx: JobContext) -> int:
            self.attempts.append(ctx.attempt)
            self.began.set()
            await self.go.wait()
            return ctx.attempt

        @self.pipeline.job
        async def stubborn() -> str:
            self.began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
            return "too late"

        self.work, self.stubborn = work, stubborn


@pytest.mark.flowstone_both
class TestACrash:
    async def test_lets_another_worker_take_over_at_once(self, flowstone_app: Applications) -> None:
        bench = Bench()
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.work.with_())
            worker = app.worker(FOUR)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 10)

            assert await crash(worker) == [job.job_id]

            assert (await job.status()).status is Status.READY
            await asyncio.wait_for(working, 10)
            bench.go.set()
            assert await drain(app) == Drained(succeeded=1)
            assert await job.result(timeout="60s") == 2
            assert bench.attempts == [1, 2]

    async def test_loses_what_the_dead_still_wanted_to_say(
        self, flowstone_app: Applications
    ) -> None:
        bench = Bench()
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.stubborn.with_())
            worker = app.worker(FOUR)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 10)

            await crash(worker)
            await asyncio.wait_for(working, 10)

            record = await job.status()
            assert (record.status, record.result) == (Status.READY, None)

    async def test_counts_against_what_it_was_at(self, flowstone_app: Applications) -> None:
        bench = Bench()
        once = WorkerOptions(queues={"default": 4}, max_rescues=0)
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.work.with_())
            worker = app.worker(once)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 10)

            await crash(worker)
            await asyncio.wait_for(working, 10)

            assert (await job.status()).status is Status.FAILED

    async def test_of_one_worker_leaves_the_others_alone(self, flowstone_app: Applications) -> None:
        bench = Bench()
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.stubborn.with_())
            worker = app.worker(FOUR)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 10)
            bench.began.clear()
            other = app.worker(WorkerOptions(queues={"other": 4}))
            going_on = asyncio.create_task(other.run())
            kept = await app.enqueue(bench.work.with_(), queue="other")
            await asyncio.wait_for(bench.began.wait(), 10)

            assert await crash(worker) == [job.job_id]

            bench.go.set()
            assert await kept.result(timeout="60s") == 1
            await asyncio.wait_for(working, 10)
            other.stop()
            await asyncio.wait_for(going_on, 10)

    async def test_wants_a_worker_that_runs(self, flowstone_app: Applications) -> None:
        async with flowstone_app(Bench().pipeline) as app:
            with pytest.raises(InvalidOptionError, match="does not run"):
                await crash(app.worker(FOUR))


class Held(MemoryStore):
    """A store whose answers to turns can be held up, and that counts who registers."""

    def __init__(self) -> None:
        super().__init__(OwnedClock())
        self.answers, self.asked = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.registered = 0

    async def register_worker(self, info: WorkerInfo) -> int:
        self.registered += 1
        return await super().register_worker(info)

    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        if not self.answers.is_set():
            self.asked.set()
            await self.answers.wait()
        return await super().turn(worker_id, settlements, capacity)


async def test_the_dead_do_not_come_back_while_a_turn_is_under_way() -> None:
    bench, store = Bench(), Held()
    async with FlowStone(bench.pipeline).with_store(store) as app:
        first = await app.enqueue(bench.work.with_())
        worker = app.worker(WorkerOptions(queues={"default": 2}))
        working = asyncio.create_task(worker.run())
        await asyncio.wait_for(bench.began.wait(), 10)
        store.answers.clear()
        second = await app.enqueue(bench.work.with_())
        await asyncio.wait_for(store.asked.wait(), 10)
        store.asked.clear()

        assert await crash(worker) == [first.job_id]
        for _ in range(20):
            await asyncio.sleep(0)  # for the other lane, which has something to settle
        assert not store.asked.is_set(), "nothing of the dead reaches the store"
        store.answers.set()
        await asyncio.wait_for(working, 10)

        assert store.registered == 1
        assert {(await it.status()).status for it in (first, second)} == {Status.READY}


async def test_no_worker_of_an_unmarked_database_is_killed(bare_dsn: str) -> None:
    migrate(bare_dsn)
    bench = Bench()
    bench.go.set()
    async with FlowStone(bench.pipeline, dsn=bare_dsn) as app:
        worker = app.worker(FOUR)
        working = asyncio.create_task(worker.run())
        job = await app.enqueue(bench.work.with_())
        assert await job.result(timeout="60s") == 1
        with pytest.raises(InvalidOptionError, match="none of its workers is killed"):
            await crash(worker)

        job = await app.enqueue(bench.work.with_())
        assert await job.result(timeout="60s") == 1
        worker.stop()
        await asyncio.wait_for(working, 10)
