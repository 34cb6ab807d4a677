"""What a worker does that was given up, or that has lost a single claim to others."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.store import Capacity, Settlement, Turn, WorkerInfo
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.status import Event
from flowstone.core.worker_options import WorkerOptions
from tests.application.stage import OneMemory, Stage, eventually, working


class SlowStore(MemoryStore):
    """Holds turns of the first worker, each until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.registered: list[int] = []
        self.held: list[asyncio.Event] = []

    async def register_worker(self, info: WorkerInfo) -> int:
        self.registered.append(await super().register_worker(info))
        return self.registered[-1]

    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        if worker_id == self.registered[0]:
            self.held.append(asyncio.Event())
            await self.held[-1].wait()
        return await super().turn(worker_id, settlements, capacity)


async def test_the_second_turn_to_hear_of_it_hears_nothing_new() -> None:
    pipeline, store = Pipeline("p"), SlowStore()

    @pipeline.asset
    async def item() -> int:
        return 1

    app = FlowStone(pipeline, dsn="memory://", plugins=[OneMemory(store)])
    handle = await app.enqueue(item)
    worker = app.worker(WorkerOptions({"default": 4}))
    working = asyncio.create_task(worker.run())
    await eventually(lambda: len(store.held) == 2)
    await store.unregister_worker(store.registered[0])
    first, second = store.held
    first.set()
    await eventually(lambda: len(store.registered) == 2)
    second.set()

    assert await handle.result(10) == 1
    assert len(store.registered) == 2
    worker.stop()
    await asyncio.wait_for(working, 10)


async def test_a_body_whose_claim_has_gone_to_others_is_stopped(stage: Stage) -> None:
    pipeline, begun, stopped = Pipeline("p"), asyncio.Event(), asyncio.Event()

    @pipeline.job
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with stage.build(pipeline) as app:
        await app.enqueue(endless.with_())
        async with working(app) as worker:
            await asyncio.wait_for(begun.wait(), 10)
            [(id_, claim)] = await app.store.owned(worker._worker_id)
            behind = Settlement(id_, claim, Event.HANDED_BACK, delay=timedelta(hours=1))
            await app.store.turn(worker._worker_id, [behind], Capacity())
            app.store.wakeups.publish("intervention")  # somebody has moved a job: look what is ours

            await asyncio.wait_for(stopped.wait(), 10)
            await asyncio.wait_for(worker.wait_idle(), 10)
