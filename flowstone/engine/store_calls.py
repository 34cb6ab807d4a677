"""How the store calls its SQL functions: by qualified name, within a limit, again on a conflict."""

from collections.abc import Sequence
from typing import Any

from flowstone.engine.caller_connection import fetch
from flowstone.engine.conflicts import after_conflicts
from flowstone.engine.connection_pool import ConnectionPool
from flowstone.engine.database_errors import database_errors
from flowstone.engine.rows import Row
from flowstone.engine.statements import call

CALL_SECONDS = 30.0
"""What has no answer by then gets none: its connection is dropped, and its outcome is unknown."""

BULK_SECONDS = 600.0
"""For calls whose work has no bound: planning, invalidating or cancelling any number of rows."""


class StoreCalls:
    """The part of the store that talks to its database; turns have connections of their own."""

    schema: str
    _pool: ConnectionPool

    async def call(
        self,
        function: str,
        types: Sequence[str],
        *arguments: object,
        conn: object = None,
        is_bulk: bool = False,
    ) -> Sequence[Row]:
        """
        Return the rows of a function of the schema; a serialization conflict is tried again.

        For whatever keeps something beside the store's own tables, too. It is one statement, and so
        one transaction, unless it runs in the caller's.

        Args:
            types: SQL types of the arguments: ``("bigint", "text[]")``.
            conn: A connection of the caller's; None takes one of few, for as long as it lasts.
            is_bulk: The work has no bound: ten minutes, instead of half a one.

        Raises:
            DatabaseError: The database refused it, or does not answer.
        """
        statement = call(self.schema, function, *types)
        if conn is not None:
            with database_errors():
                return await fetch(conn, statement, *arguments)

        limit = BULK_SECONDS if is_bulk else CALL_SECONDS

        async def once() -> Sequence[Row]:
            return await self._pool.fetch(statement, *arguments, limit=limit)

        return await after_conflicts(once)

    # Any: the SQL function says what it is, and the caller what that becomes.
    async def call_value(
        self, function: str, types: Sequence[str], *arguments: object, is_bulk: bool = False
    ) -> Any:
        """Return the one column of the one row that a function returns; see `call`."""
        (row,) = await self.call(function, types, *arguments, is_bulk=is_bulk)
        (value,) = row.values()
        return value
