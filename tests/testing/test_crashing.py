"""A worker that dies under its work."""

import asyncio

import pytest

from flowstone import FlowStone, JobContext, Pipeline
from flowstone.core.errors import InvalidOptionError
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.schema import migrate
from flowstone.testing import Applications, Drained, crash, drain

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
            await asyncio.wait_for(bench.began.wait(), 5)

            assert await crash(worker) == [job.job_id]

            assert (await job.status()).status is Status.READY
            await asyncio.wait_for(working, 5)
            bench.go.set()
            assert await drain(app) == Drained(succeeded=1)
            assert await job.result(timeout="1s") == 2
            assert bench.attempts == [1, 2]

    async def test_loses_what_the_dead_still_wanted_to_say(
        self, flowstone_app: Applications
    ) -> None:
        bench = Bench()
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.stubborn.with_())
            worker = app.worker(FOUR)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 5)

            await crash(worker)
            await asyncio.wait_for(working, 5)

            record = await job.status()
            assert (record.status, record.result) == (Status.READY, None)

    async def test_counts_against_what_it_was_at(self, flowstone_app: Applications) -> None:
        bench = Bench()
        once = WorkerOptions(queues={"default": 4}, max_rescues=0)
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.work.with_())
            worker = app.worker(once)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 5)

            await crash(worker)
            await asyncio.wait_for(working, 5)

            assert (await job.status()).status is Status.FAILED

    async def test_of_one_worker_leaves_the_others_alone(self, flowstone_app: Applications) -> None:
        bench = Bench()
        async with flowstone_app(bench.pipeline) as app:
            job = await app.enqueue(bench.stubborn.with_())
            worker = app.worker(FOUR)
            working = asyncio.create_task(worker.run())
            await asyncio.wait_for(bench.began.wait(), 5)
            bench.began.clear()
            other = app.worker(WorkerOptions(queues={"other": 4}))
            going_on = asyncio.create_task(other.run())
            kept = await app.enqueue(bench.work.with_(), queue="other")
            await asyncio.wait_for(bench.began.wait(), 5)

            assert await crash(worker) == [job.job_id]

            bench.go.set()
            assert await kept.result(timeout="5s") == 1
            await asyncio.wait_for(working, 5)
            other.stop()
            await asyncio.wait_for(going_on, 5)

    async def test_wants_a_worker_that_runs(self, flowstone_app: Applications) -> None:
        async with flowstone_app(Bench().pipeline) as app:
            with pytest.raises(InvalidOptionError, match="does not run"):
                await crash(app.worker(FOUR))


async def test_no_worker_of_an_unmarked_database_is_killed(bare_dsn: str) -> None:
    migrate(bare_dsn)
    bench = Bench()
    bench.go.set()
    async with FlowStone(bench.pipeline, dsn=bare_dsn) as app:
        worker = app.worker(FOUR)
        working = asyncio.create_task(worker.run())
        job = await app.enqueue(bench.work.with_())
        assert await job.result(timeout="5s") == 1
        with pytest.raises(InvalidOptionError, match="none of its workers is killed"):
            await crash(worker)

        job = await app.enqueue(bench.work.with_())
        assert await job.result(timeout="5s") == 1
        worker.stop()
        await asyncio.wait_for(working, 5)
