"""
The connections for all that is no turn: few, opened when needed, and no call waits for ever.

A server that was stopped, or a proxy that lost it, may accept everything and never answer; the
network then has no error to tell. So each call has a limit. Past it the connection is dropped, and
what became of the statement is unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg

from flowstone.core.errors import NotOpenError
from flowstone.engine.connecting import connect
from flowstone.engine.database_errors import Failure, connection_errors, failure_of

CLOSE_SECONDS = 1.0
"""How long a connection may take over its goodbye; a server needs none to undo what is open."""


class ConnectionPool:
    """
    A pool that is opened and closed with its store.

    Args:
        dsn: libpq URL or key=value string.
        size: Most connections at once; who finds none free waits, within the limit of its call.
        reset: What is done to one that is given back. Our statements leave nothing in a session, so
            by default it is nothing: it costs a trip.
    """

    def __init__(
        self,
        dsn: str,
        size: int,
        *,
        reset: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    ) -> None:
        self._dsn = dsn
        self._size = size
        self._reset = reset or _leave_as_it_is
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Make the pool; nobody is connected yet."""
        with connection_errors():
            # With a least size, asyncpg logs what goes wrong when a server restarts.
            self._pool = await asyncpg.create_pool(
                connect=self._connect, min_size=0, max_size=self._size, reset=self._reset
            )

    async def close(self) -> None:
        """Close all connections, politely if they answer; safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except (TimeoutError, asyncpg.InterfaceError, OSError):
            pool.terminate()

    async def _connect(self, *_: object, **__: object) -> asyncpg.Connection:
        return await connect(self._dsn)

    def acquire(self) -> Any:
        """Give a connection for a while: ``async with pool.acquire() as connection``."""
        if self._pool is None:
            raise NotOpenError
        return self._pool.acquire()

    async def release(self, connection: Any) -> None:
        """Take back what was awaited from `acquire`; a second time nothing happens."""
        if self._pool is not None:
            await self._pool.release(connection)

    async def fetch(self, statement: str, *arguments: object, limit: float) -> list[Any]:
        """
        Return the rows of a statement.

        Args:
            limit: Seconds, with those of waiting for a connection and of opening it.
        """
        async with asyncio.timeout(limit), self.acquire() as connection:
            try:
                found: list[Any] = await connection.fetch(statement, *arguments)
            except asyncio.CancelledError:
                # Not given back: whether it answers to a cancel is just what nobody knows.
                _terminate(connection)
                raise
            except asyncpg.PostgresError as error:
                # One that became read-only under us still answers: it is left as if it were gone.
                if failure_of(error) is Failure.UNREACHABLE:
                    _terminate(connection)
                raise
            return found


def _terminate(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # one that was lost has left by itself
        connection.terminate()


async def _leave_as_it_is(_connection: object) -> None:
    """Clean nothing."""
