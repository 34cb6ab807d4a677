"""What a worker is to its store: a number, from when it says hello until it says goodbye."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from flowstone.core.backoff import Backoff
from flowstone.core.contracts.store import Store, WorkerInfo
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import DatabaseError
from flowstone.core.slots import Slots

logger = logging.getLogger(__name__)

GOODBYE_SECONDS = 3.0
"""How long a worker that ends waits for the store to hear of it."""

NOBODY = 0


class Registration:
    """The number under which a worker owns what it claims; `NOBODY` while it has none."""

    def __init__(
        self,
        store: Store,
        telemetry: TelemetryEmitter,
        info: WorkerInfo,
        slots: Slots,
        backoff: Backoff,
    ) -> None:
        self.worker_id = NOBODY
        self._store = store
        self._telemetry = telemetry
        self._info = info
        self._slots = slots
        self._backoff = backoff

    async def begin(self, is_stopping: Callable[[], bool]) -> None:
        """Say hello, however long the store takes to answer. A number from before is given up."""
        self.worker_id = NOBODY
        while True:
            try:
                self.worker_id = await self._store.register_worker(self._info)
                break
            except DatabaseError as error:
                if not error.may_pass or is_stopping():
                    raise
                logger.warning("The store does not answer (%s); trying again", error)
                await self._backoff.wait()
        self._telemetry.execute(
            "worker.start", {}, {"worker_id": self.worker_id, "queues": dict(self._slots.total)}
        )

    async def end(self) -> None:
        """Say goodbye. Where a silent connection swallows it, others learn by the lease."""
        with suppress(DatabaseError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._store.unregister_worker(self.worker_id)
        self._telemetry.execute("worker.stop", {}, {"worker_id": self.worker_id})
