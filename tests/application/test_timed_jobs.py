"""A job is begun when its time has come, whatever its worker does meanwhile."""

import asyncio
from datetime import timedelta

from flowstone import Pipeline
from flowstone.core.worker_options import WorkerOptions
from tests.application.stage import Stage, eventually


async def test_a_timed_job_is_begun_while_a_long_one_runs(stage: Stage) -> None:
    shop = Pipeline("shop")
    begun: list[str] = []
    go_on = asyncio.Event()

    @shop.job
    async def long(name: str) -> None:
        begun.append(name)
        await go_on.wait()

    app = await stage.app(shop)
    await app.enqueue(long.with_(name="at once"))
    await app.enqueue(long.with_(name="soon"), delay="300ms")
    await app.enqueue(long.with_(name="later"), delay="600ms")
    never = timedelta(hours=1)
    options = WorkerOptions({"default": 9}, poll_interval=never, lease=never, drain=True)
    worker = asyncio.create_task(app.worker(options).run())

    await eventually(lambda: len(begun) == 3)

    assert begun == ["at once", "soon", "later"]
    go_on.set()
    await asyncio.wait_for(worker, 10)
