"""A wish to stop that comes while what it means is still on its way to the worker."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from flowstone import Pipeline
from flowstone.core.contracts.store import Capacity, Settlement, Turn
from flowstone.core.status import RunStatus
from flowstone.core.worker_options import WorkerOptions
from tests.application.conftest import AppOf
from tests.application.stage import eventually

AGES = timedelta(hours=1)
"""By then a worker looks for wishes that it did not hear."""


async def test_one_whose_claim_is_still_on_its_way_stops_as_well(app_of: AppOf) -> None:
    p = Pipeline("p")

    @p.asset
    async def endless() -> None:
        await asyncio.Event().wait()

    app = await app_of(p)
    turn, claimed, go_on = app.store.turn, asyncio.Event(), asyncio.Event()

    async def slow_reply(
        worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        done = await turn(worker_id, settlements, capacity)
        if done.claims:
            claimed.set()
            await go_on.wait()
        return done

    app.store.turn = slow_reply  # type: ignore[method-assign]
    worker = app.worker(WorkerOptions({"default": 1}, lease=AGES))
    working = asyncio.create_task(worker.run())
    try:
        handle = await app.enqueue(endless)
        await asyncio.wait_for(claimed.wait(), 10)
        heard = worker._running.wishes
        await handle.cancel()
        await eventually(lambda: worker._running.wishes > heard)
        go_on.set()

        assert (await handle.wait(60)).status is RunStatus.CANCELLED
    finally:
        go_on.set()
        worker._running.stop_all()
        worker.stop()
        await working
