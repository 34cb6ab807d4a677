"""
A worker's proof of life, from a thread and a connection of its own.

An asset's body may hold the event loop for a while; that must not cost the worker what it owns.
"""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

import psycopg

from flowstone.engine.dsn import normalize
from flowstone.engine.statements import qualified

logger = logging.getLogger(__name__)


class HeartbeatThread(threading.Thread):
    """
    Beats until it is stopped, the first time one interval after its start.

    A registration counts as a beat, so a run that is over sooner costs no connection. A beat that
    fails is tried again an interval later on a new connection.
    """

    def __init__(
        self, dsn: str, schema: str, worker_id: Callable[[], int], every: timedelta
    ) -> None:
        super().__init__(name=f"flowstone-heartbeat-{worker_id()}", daemon=True)
        self._dsn = normalize(dsn)
        self._beat = f"SELECT {qualified(schema, 'flowstone_heartbeat_v1')}(%s)".encode()
        self._worker_id = worker_id
        self._every = every.total_seconds()
        self._stopped = threading.Event()
        self._connection: psycopg.Connection[tuple[bool]] | None = None

    def run(self) -> None:
        """Beat until `stop`."""
        try:
            while not self._stopped.wait(self._every):
                try:
                    self._beat_once()
                except psycopg.Error as error:
                    logger.warning("Heartbeat of worker %s failed: %s", self._worker_id(), error)
                    self._disconnect()
        finally:
            self._disconnect()

    def stop(self) -> None:
        """Ask the thread to end; it does so at once unless a beat is under way."""
        self._stopped.set()

    def _beat_once(self) -> None:
        if self._connection is None:
            timeout = max(2, int(self._every))
            self._connection = psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=timeout, prepare_threshold=None
            )
        self._connection.execute(self._beat, [self._worker_id()])

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
