"""A Postgres server of the run's own, which may be stopped under everybody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from flowstone.core.contracts.tables import Tables
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.embedded_cluster import Cluster
from flowstone.engine.schema import migrate

SETTINGS = {
    # A commit outlives a crash of the server, if not one of the machine.
    "fsync": "off",
    "max_connections": "80",
    "log_lock_waits": "on",
    "log_line_prefix": "%m [%p] ",
}


class Server:
    """
    The server.

    Args:
        folder: Where its log is kept.
        tables: What the application's plugins bring.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Tables]) -> None:
        self._tables = tables
        self._embedded = EmbeddedPostgres(settings=SETTINGS)
        self._log = folder / "postgres.log"
        self._restarting = asyncio.Lock()

    @contextmanager
    def running(self) -> Iterator["Server"]:
        with self._embedded:
            migrate(self.dsn, tables=self._tables)
            try:
                yield self
            finally:
                self._keep_log()

    @property
    def dsn(self) -> str:
        return self._embedded.dsn()

    async def restart(self, *, immediately: bool, pause: float = 0.0) -> None:
        """Stop it, as if it had crashed or not, leave it down for a while, and start it again."""
        assert self._embedded.path is not None
        cluster = Cluster(self._embedded.path)
        async with self._restarting:
            with cluster.control():
                await asyncio.to_thread(cluster.stop, immediately=immediately)
                await asyncio.sleep(pause)
                self._keep_log()
                await asyncio.to_thread(cluster.ensure_running, SETTINGS)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """Give a connection of its own."""
        connection = await asyncpg.connect(**for_asyncpg(self.dsn), timeout=20)
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.InterfaceError):
                await connection.close(timeout=2)

    def _keep_log(self) -> None:
        """A start begins the server's log anew."""
        if self._embedded.path is not None:
            with self._log.open("ab") as log:
                log.write((self._embedded.path / "server.log").read_bytes())
