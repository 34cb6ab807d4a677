"""
A worker's proof of life, from a thread and a connection of its own.

An asset's body may hold the event loop for a while; that must not cost the worker what it owns.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import asyncpg

from flowstone.engine.connecting import connect
from flowstone.engine.database_errors import ASYNCPG_ERRORS
from flowstone.engine.statements import call

logger = logging.getLogger(__name__)


class HeartbeatThread(threading.Thread):
    """
    Beats until it is stopped, the first time one interval after its start.

    A registration counts as a beat, so a run that is over sooner costs no connection. A beat that
    fails, or has no answer within an interval, is soon tried again on a new connection.
    """

    def __init__(
        self, dsn: str, schema: str, worker_id: Callable[[], int], every: timedelta
    ) -> None:
        super().__init__(name=f"flowstone-heartbeat-{worker_id()}", daemon=True)
        self._dsn = dsn
        self._beat = call(schema, "flowstone_heartbeat_v1", "bigint")
        self._worker_id = worker_id
        self._every = every.total_seconds()
        self._stopped = threading.Event()
        self._connection: asyncpg.Connection | None = None

    def run(self) -> None:
        """Beat until `stop`."""
        pause = self._every
        # Its loop is made for the first beat, and does nothing in between.
        with asyncio.Runner() as runner:
            while not self._stopped.wait(pause):
                is_heard = runner.run(self._beat_once())
                pause = self._every if is_heard else self._every / 5
            if self._connection is not None:
                runner.run(self._say_goodbye(self._connection))

    def stop(self) -> None:
        """Ask the thread to end; it does so at once unless a beat is under way."""
        self._stopped.set()

    async def _beat_once(self) -> bool:
        try:
            async with asyncio.timeout(self._every):
                if self._connection is None:
                    self._connection = await connect(self._dsn)
                await self._connection.execute(self._beat, self._worker_id())
        except ASYNCPG_ERRORS as error:
            why = str(error) or "no answer in time"
            logger.warning("Heartbeat of worker %s failed: %s", self._worker_id(), why)
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _say_goodbye(self, connection: asyncpg.Connection) -> None:
        with suppress(*ASYNCPG_ERRORS):
            await connection.close(timeout=1)
