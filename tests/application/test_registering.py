"""How a worker says hello to a store that does not take it at once."""

import asyncio

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.store import WorkerInfo
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import DatabaseError
from tests.application.stage import OneMemory


class CancellingStore(MemoryStore):
    """Somebody cancels the first statement that a worker sends."""

    def __init__(self) -> None:
        super().__init__()
        self.hellos = 0

    async def register_worker(self, info: WorkerInfo) -> int:
        self.hellos += 1
        if self.hellos == 1:
            raise DatabaseError("canceling statement due to user request", sqlstate="57014")
        return await super().register_worker(info)


async def test_a_hello_that_is_cancelled_is_said_again() -> None:
    store = CancellingStore()
    app = FlowStone(Pipeline("p"), dsn="memory://", plugins=[OneMemory(store)])
    worker = app.worker()
    working = asyncio.create_task(worker.run())

    await asyncio.wait_for(worker.wait_idle(), 60)
    worker.stop()
    await asyncio.wait_for(working, 60)

    assert store.hellos == 2
