"""
The connections that turns run on: their own, and nothing between them and the wire.

A pool's bookkeeping around each statement costs about as much as a small turn's reply, and reading
or enqueueing must neither wait for a turn nor make one wait.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from flowstone.engine.connecting import connect
from flowstone.engine.database_errors import Failure, connection_errors, failure_of

logger = logging.getLogger(__name__)


class TurnConnections:
    """Idle connections, newest first; as many are opened as turns overlap."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[asyncpg.Connection] = []

    @asynccontextmanager
    async def one(self, limit: float) -> AsyncIterator[asyncpg.Connection]:
        """
        Give a connection for one statement.

        One that was lost, or whose statement was cut short, is not used again. Nor are those that
        were idle meanwhile: what took one from us has most likely taken them, and each would cost
        its turn an error, or the whole limit, after the server has come back.

        Args:
            limit: Seconds without an answer until the connection is dropped, as if it was lost.
        """
        connection = self._take() or await self._connect(limit)
        # A bare timer: asyncio.timeout costs several times as much, and each turn pays for it.
        limiting = asyncio.get_running_loop().call_later(limit, _give_up, connection)
        is_usable = True
        try:
            yield connection
        except BaseException as error:
            # A server that became read-only under us still answers: it is left, as if it were gone.
            is_lost = failure_of(error) is Failure.UNREACHABLE
            is_usable = isinstance(error, asyncpg.PostgresError) and not is_lost
            if is_lost:
                self._drop_idle()
            raise
        finally:
            limiting.cancel()
            if is_usable and not connection.is_closed():
                self._idle.append(connection)
            else:
                connection.terminate()

    async def close(self) -> None:
        """Close what is idle; a turn under way is cut short by its own task."""
        self._drop_idle()

    def _take(self) -> asyncpg.Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().terminate()

    async def _connect(self, limit: float) -> asyncpg.Connection:
        with connection_errors():
            async with asyncio.timeout(limit):
                return await connect(self._dsn)


def _give_up(connection: asyncpg.Connection) -> None:
    logger.warning("A turn had no answer in time; its connection is dropped")
    connection.terminate()
