"""What a worker does that ends while its store does not answer."""

import asyncio

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.defaults.memory_store import MemoryStore
from tests.application.stage import OneMemory


class SilentStore(MemoryStore):
    """Never says that it has heard a goodbye."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()

    async def unregister_worker(self, worker_id: int) -> None:
        self.is_asked.set()
        await asyncio.Event().wait()


async def test_a_goodbye_that_nobody_hears_does_not_hold_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flowstone.core.registration.GOODBYE_SECONDS", 0.01)
    store = SilentStore()
    app = FlowStone(Pipeline("p"), dsn="memory://", plugins=[OneMemory(store)])
    worker = app.worker()
    working = asyncio.create_task(worker.run())
    await worker.wait_idle()

    worker.stop()

    await asyncio.wait_for(working, 10)
    assert store.is_asked.is_set()
