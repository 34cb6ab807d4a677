"""Somebody holds a row that a settlement needs: that one waits, and nobody with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.store import Capacity, Settlement, Turn
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import DatabaseError
from flowstone.core.status import Event
from flowstone.core.worker_options import WorkerOptions
from tests.application.stage import OneMemory, eventually


class LockedStore(MemoryStore):
    """
    Rows can be held here as in a database; `time_out` is what lock_timeout would do in time.

    Attributes:
        waits: The ids of each batch that had to wait for a lock.
        tells: Whether `locked` knows.
        handed_back: The ids that were.
        claimed: How many claims there were.
        asked: How often a worker asked what it owns.
    """

    def __init__(self, *, tells: bool = True) -> None:
        super().__init__()
        self.held: set[int] = set()
        self.tells = tells
        self.waits: list[set[int]] = []
        self.handed_back: list[int] = []
        self.claimed = self.asked = 0
        self.time_out = asyncio.Event()

    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        ids = {it.id for it in settlements}
        self.handed_back += [it.id for it in settlements if it.event is Event.HANDED_BACK]
        if self.held & ids:
            self.waits.append(ids)
            await self.time_out.wait()
            raise DatabaseError("canceling statement due to lock timeout", sqlstate="55P03")
        turn = await super().turn(worker_id, settlements, capacity)
        self.claimed += len(turn.claims)
        return turn

    async def owned(self, worker_id: int) -> Sequence[tuple[int, int]]:
        self.asked += 1
        return await super().owned(worker_id)

    async def locked(self, materialization_ids: Sequence[int]) -> Sequence[int]:
        return [id_ for id_ in materialization_ids if id_ in self.held and self.tells]


@pytest.fixture
def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def item() -> int:
        return 1

    return p


@asynccontextmanager
async def working(app: FlowStone, lease: timedelta = timedelta(seconds=15)) -> AsyncIterator[None]:
    never = timedelta(hours=1)  # nothing that is told here was found by a poll
    worker = app.worker(WorkerOptions({"default": 20}, lease=lease, poll_interval=never))
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait_for(task, 10)


async def held_one(app: FlowStone, store: LockedStore) -> int:
    """Enqueue an item, hold its row, and return its id."""
    handle = await app.enqueue("item", partition="held")
    (record,) = await store.materializations(handle.run_id)
    store.held.add(record.id)
    return record.id


def an_application(store: LockedStore, pipeline: Pipeline) -> FlowStone:
    return FlowStone(pipeline, dsn="memory://", plugins=[OneMemory(store)])


async def test_while_a_batch_waits_for_a_lock_the_next_one_goes(pipeline: Pipeline) -> None:
    may_end, store = asyncio.Event(), LockedStore()

    @pipeline.asset
    async def other() -> int:
        await may_end.wait()
        return 2

    app = an_application(store, pipeline)
    running = await app.enqueue(other)
    async with working(app):
        await eventually(lambda: store.claimed)
        await held_one(app, store)
        await eventually(lambda: store.waits)

        may_end.set()

        assert await running.result(60) == 2
        store.time_out.set()
        store.held.clear()


@pytest.mark.parametrize("tells", [True, False], ids=["told", "not told"])
async def test_nobody_else_ever_waits_for_that_lock_again(pipeline: Pipeline, tells: bool) -> None:
    store = LockedStore(tells=tells)
    store.time_out.set()
    app = an_application(store, pipeline)
    id_ = await held_one(app, store)
    together = await app.enqueue_many(["item"], over=[f"{n}" for n in range(15)])
    async with working(app):
        await together.result(60)
        first = len(store.waits)
        for _ in range(20):
            assert await (await app.enqueue("item", force=True)).result(60) == 1

        assert all(ids == {id_} for ids in store.waits[first:])
        assert first == 1 or not tells, "asked who it is, the store need not be tried in halves"
        store.held.clear()
        await eventually(lambda: app.exists("item", partition="held"))


async def test_a_drain_waits_for_it(pipeline: Pipeline) -> None:
    store = LockedStore()
    store.time_out.set()
    app = an_application(store, pipeline)
    await held_one(app, store)
    draining = asyncio.create_task(app.worker(WorkerOptions({"default": 2}, drain=True)).run())
    await eventually(lambda: store.waits)
    await (await app.enqueue("item")).result(60)
    assert not draining.done()

    store.held.clear()
    await asyncio.wait_for(draining, 10)

    assert await app.exists("item", partition="held")


async def test_a_stop_waits_for_it(pipeline: Pipeline) -> None:
    store = LockedStore()
    store.time_out.set()
    app = an_application(store, pipeline)
    await held_one(app, store)
    async with working(app):
        await eventually(lambda: store.waits)
        asyncio.get_running_loop().call_later(0.2, store.held.clear)

    assert await app.exists("item", partition="held")


async def test_it_is_not_handed_back_as_if_nobody_knew_it(pipeline: Pipeline) -> None:
    store = LockedStore()
    store.time_out.set()
    app = an_application(store, pipeline)
    await held_one(app, store)
    async with working(app, lease=timedelta(seconds=0.1)):
        await eventually(lambda: store.waits)
        store.asked = 0

        await eventually(lambda: store.asked >= 3)

        store.held.clear()
        await eventually(lambda: app.exists("item", partition="held"))
    assert store.handed_back == []


async def test_what_else_is_held_meanwhile_is_set_aside_before_a_batch_waits_for_it(
    pipeline: Pipeline,
) -> None:
    store = LockedStore()
    store.time_out.set()
    app = an_application(store, pipeline)
    await held_one(app, store)
    async with working(app):
        await eventually(lambda: store.waits)
        second = await app.enqueue("item", partition="second")
        (record,) = await store.materializations(second.run_id)
        store.held.add(record.id)
        assert await (await app.enqueue("item")).result(60) == 1
        await eventually(lambda: store.claimed >= 3)
        assert await (await app.enqueue("item", force=True)).result(60) == 1

        assert len(store.waits) == 1
        store.held.clear()
        assert await second.result(60) == 1
