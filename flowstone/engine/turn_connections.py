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
                connection.terminate()
                raise
            self._idle.append(connection)
            raise
        self._idle.append(connection)

    async def close(self) -> None:
        """Close what is idle; a turn under way is cut short by its own task."""
        while self._idle:
            self._idle.pop().terminate()

    async def _connect(self) -> asyncpg.Connection:
        with connection_errors():
            return await asyncpg.connect(**for_asyncpg(self._dsn))
