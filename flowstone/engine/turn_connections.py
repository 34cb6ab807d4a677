"""
The connections that turns run on: their own, and nothing between them and the wire.

A pool's bookkeeping around each statement costs about as much as a small turn's reply, and reading
or enqueueing must neither wait for a turn nor make one wait.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from flowstone.engine.database_errors import connection_errors
from flowstone.engine.dsn import for_asyncpg


class TurnConnections:
    """Idle connections, newest first; as many are opened as turns overlap."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[asyncpg.Connection] = []
        self._pids: dict[asyncpg.Connection, int] = {}

    def has(self, pid: int) -> bool:
        """Return whether a server process serves one of these connections."""
        return pid in self._pids.values()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[asyncpg.Connection]:
        """
        Give a connection for one statement.

        One that was lost, or whose statement was cut short, is not used again.
        """
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            yield connection
        except BaseException as error:
            if not isinstance(error, asyncpg.PostgresError) or connection.is_closed():
                self._drop(connection)
                raise
            self._idle.append(connection)
            raise
        self._idle.append(connection)

    async def close(self) -> None:
        """Close what is idle; a turn under way is cut short by its own task."""
        while self._idle:
            self._drop(self._idle.pop())

    async def _connect(self) -> asyncpg.Connection:
        with connection_errors():
            connection = await asyncpg.connect(**for_asyncpg(self._dsn))
        self._pids[connection] = connection.get_server_pid()
        return connection

    def _drop(self, connection: asyncpg.Connection) -> None:
        # The server may give the number to somebody else, whose word would then not be heard.
        self._pids.pop(connection, None)
        connection.terminate()
