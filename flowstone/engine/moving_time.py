"""
Time that passes at once: the clock is the database's own, so what it stores moves into the past.

Only for databases that are marked as being for tests (`flowstone.engine.disposable_databases`).
"""

from datetime import timedelta

from flowstone.core.errors import InvalidOptionError
from flowstone.engine.conflicts import after_conflicts
from flowstone.engine.connecting import connect
from flowstone.engine.disposable_databases import MARK
from flowstone.engine.dsn import redacted
from flowstone.engine.statements import script, set_search_path


async def advance(dsn: str, schema: str, by: timedelta) -> None:
    """
    Let time pass; workers that live do not notice.

    Raises:
        InvalidOptionError: The schema is not marked as being for tests.
    """
    await _call(dsn, schema, "pg_temp.flowstone_advance($1)", by)


async def lapse(dsn: str, schema: str, worker_id: int) -> None:
    """
    End a worker's lease now, as if it had not beaten for so long.

    Raises:
        InvalidOptionError: The schema is not marked as being for tests.
    """
    await _call(dsn, schema, "pg_temp.flowstone_lapse($1)", worker_id)


async def check_mark(dsn: str, schema: str) -> None:
    """
    Refuse a schema that is not marked as being for tests.

    Raises:
        InvalidOptionError: It is not.
    """
    await _call(dsn, schema, "pg_temp.flowstone_test_mark()")


async def _call(dsn: str, schema: str, function: str, *arguments: object) -> None:
    async def once() -> None:
        connection = await connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute(set_search_path(schema))
                await connection.execute(script("testing/moving_time.sql"))
                if await connection.fetchval("SELECT pg_temp.flowstone_test_mark()") != MARK:
                    raise _refusal(dsn, schema)
                await connection.execute(f"SELECT {function}", *arguments)
        finally:
            await connection.close()

    await after_conflicts(once)


def _refusal(dsn: str, schema: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"schema {schema!r} of {redacted(dsn)} is not marked as being for tests, so that its time "
        "is not moved and none of its workers is killed; the fixture flowstone_app makes databases "
        "that are, and flowstone.testing.mark_as_test(dsn) marks one that holds nothing else"
    )
