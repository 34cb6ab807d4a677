"""A worker that has begun as many attempts as it may ends well, and leaves the rest to others."""

from collections import Counter

from flowstone import FlowStone, Pipeline
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from tests.application.stage import Stage


async def test_it_ends_after_so_many_and_the_rest_waits(stage: Stage) -> None:
    p = Pipeline("p")

    @p.job
    async def tick(number: int) -> int:
        return number

    async with stage.build(p) as app:
        jobs = await app.enqueue_many([tick.with_(number) for number in range(9)])
        worker = app.worker(WorkerOptions(queues={"default": 4}, max_jobs=6))
        await worker.run()

        assert worker.is_recycled
        statuses = Counter([(await job.status()).status for job in jobs])
        assert statuses == {Status.SUCCEEDED: 6, Status.READY: 3}
        await _finish(app)
        assert [await job.result(timeout="60s") for job in jobs] == list(range(9))


async def _finish(app: FlowStone) -> None:
    worker = app.worker(WorkerOptions(queues={"default": 4}, drain=True))
    await worker.run()
    assert not worker.is_recycled
