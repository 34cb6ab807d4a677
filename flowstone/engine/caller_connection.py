"""
One statement inside the transaction of whoever calls us.

What is enqueued with ``conn=`` belongs to the caller's transaction: it commits with it and vanishes
with it. Nothing here begins, commits or rolls back. A connection on which no transaction is open
does what it always does: asyncpg and autocommit commit the statement, the others begin.

Callers bring codecs of their own, so statements keep to types that every driver sends the same way:
numbers, text, booleans, times, and lists of them. JSON goes as ``$1::text::json`` and comes back as
text; as ``json`` it would be whatever the caller made of it.
"""

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
from asyncpg.pool import PoolConnectionProxy
from psycopg.rows import dict_row

from flowstone.core.errors import InvalidOptionError
from flowstone.engine.database_errors import database_errors

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_ACCEPTED = (
    "conn: expected an asyncpg connection, a psycopg AsyncConnection, or an SQLAlchemy "
    "AsyncConnection or AsyncSession on either"
)
_PLACEHOLDER = re.compile(r"\$(\d+)")


async def fetch(conn: object, statement: str, *arguments: object) -> list[Mapping[str, Any]]:
    """
    Run one statement on the caller's connection and return its rows.

    Args:
        statement: With ``$1``, ``$2`` … for the arguments, each with a cast.

    Raises:
        InvalidOptionError: The object is no connection that can be used; the message says which
            can.
        DatabaseError: The statement failed; the caller's transaction is as the driver left it.
    """
    with database_errors():
        if isinstance(conn, asyncpg.Connection | PoolConnectionProxy):
            return [dict(row) for row in await conn.fetch(statement, *arguments)]
        if isinstance(conn, psycopg.AsyncConnection):
            async with psycopg.AsyncRawCursor(conn, row_factory=dict_row) as cursor:
                await cursor.execute(statement.encode(), arguments)
                return list(await cursor.fetchall())
        return await _fetch_on_sqlalchemy(await _sqlalchemy_connection(conn), statement, arguments)


async def _sqlalchemy_connection(conn: object) -> "AsyncConnection":
    """Return SQLAlchemy's connection, if the object is one or has one."""
    # Whoever passes one of its objects has imported it; nobody else pays for it.
    if "sqlalchemy.ext.asyncio" in sys.modules:
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

        connection = await conn.connection() if isinstance(conn, AsyncSession) else conn
        if isinstance(connection, AsyncConnection):
            dialect = connection.sync_engine.dialect
            if dialect.name == "postgresql" and dialect.driver in ("asyncpg", "psycopg"):
                return connection
            raise InvalidOptionError(f"{_ACCEPTED}; this one is on {dialect.name}+{dialect.driver}")
    raise InvalidOptionError(f"{_ACCEPTED}; {_what_it_is(conn)}")


async def _fetch_on_sqlalchemy(
    connection: "AsyncConnection", statement: str, arguments: tuple[object, ...]
) -> list[Mapping[str, Any]]:
    # Through SQLAlchemy and not past it: it has to know that its transaction has begun.
    if connection.dialect.driver == "asyncpg":
        result = await connection.exec_driver_sql(statement, arguments)
    else:
        named = {f"p{number}": argument for number, argument in enumerate(arguments, start=1)}
        result = await connection.exec_driver_sql(_with_names(statement), named)
    return [dict(row._mapping) for row in result]


@lru_cache
def _with_names(statement: str) -> str:
    """Rewrite ``$1`` as ``%(p1)s``."""
    return _PLACEHOLDER.sub(r"%(p\1)s", statement.replace("%", "%%"))


def _what_it_is(conn: object) -> str:
    kind = type(conn)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    if isinstance(conn, psycopg.Connection) or name in (
        "sqlalchemy.Connection",
        "sqlalchemy.Session",
    ):
        return f"{name} is synchronous, and its transaction cannot be shared with asynchronous code"
    if name.endswith(("Pool", "Engine")):
        return f"{name} has no transaction of its own; pass a connection that was taken from it"
    return f"{name} is none of these"
