"""
How the engine connects: directly, or through a pooler that lends a server for one transaction.

asyncpg parses a statement in one trip and executes it in the next, under a name. A PgBouncer in
transaction mode may put another server in between, on which the name is unknown, or is another
client's. So behind a pooler nothing is named, and each statement is in a transaction of its own:
four trips instead of one. A pooler is known by the process that it says serves us, which is not
the one that does.

Either way transactions are READ COMMITTED, whatever the server, the database or the role has for a
default: a function of ours that has waited for a lock looks at what was committed meanwhile, and
counts it.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg

from flowstone.engine.dsn import for_asyncpg

_behind_a_pooler: set[str] = set()
"""What was found out: DSNs."""


async def connect(dsn: str) -> asyncpg.Connection:
    """
    Return a connection that needs nothing of its session, whatever is in between.

    Raises what asyncpg raises: `flowstone.engine.database_errors.ASYNCPG_ERRORS`.
    """
    if dsn not in _behind_a_pooler:
        connection = await asyncpg.connect(**for_asyncpg(dsn))
        try:
            if await _is_direct(connection):
                return connection
        except BaseException:
            connection.terminate()
            raise
        _behind_a_pooler.add(dsn)
        await connection.close()
    arguments: dict[str, Any] = {"statement_cache_size": 0, "connection_class": LentConnection}
    return await asyncpg.connect(**for_asyncpg(dsn), **arguments)


async def _is_direct(connection: asyncpg.Connection) -> bool:
    """Say whether a session is ours alone; only then its default is set."""
    # Without arguments it is a simple query, which has no name and takes one trip.
    answer = await connection.execute(
        "SELECT set_config('default_transaction_isolation', 'read committed', false) "
        f"WHERE pg_backend_pid() = {connection.get_server_pid()}"
    )
    return answer == "SELECT 1"


class LentConnection(asyncpg.Connection):
    """
    A connection whose server may be another one in the next transaction.

    Safe are the calls that the engine makes: ``fetch``, ``fetchval`` and ``execute``.
    """

    async def fetch(self, query: str, *args: object, **given: Any) -> Any:
        """As asyncpg's own, in a transaction."""
        return await self._together(super().fetch, query, *args, **given)

    async def fetchval(self, query: str, *args: object, **given: Any) -> Any:
        """As asyncpg's own, in a transaction."""
        return await self._together(super().fetchval, query, *args, **given)

    async def execute(self, query: str, *args: object, **given: Any) -> str:
        """As asyncpg's own, in a transaction if it has arguments; without, it takes one trip."""
        if not args:
            return await super().execute(query, **given)
        return str(await self._together(super().execute, query, *args, **given))

    async def _together(
        self, call: Callable[..., Awaitable[Any]], query: str, *args: object, **given: Any
    ) -> Any:
        if self.is_in_transaction():
            return await call(query, *args, **given)
        transaction = self.transaction(isolation="read_committed")
        await transaction.start()
        try:
            result = await call(query, *args, **given)
        except asyncpg.PostgresError:
            with suppress(asyncpg.InterfaceError):  # closed: it is the first error that says why
                await transaction.rollback()
            raise
        except BaseException:
            # Cut short: it may be that nobody answers any longer. The server undoes it by itself.
            self.terminate()
            raise
        await transaction.commit()
        return result
