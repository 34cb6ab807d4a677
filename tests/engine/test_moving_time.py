"""Time moves for everything that a database keeps, and for nothing else."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from flowstone.core.errors import InvalidOptionError, SchemaVersionError
from flowstone.engine.disposable_databases import DisposableDatabases, mark_as_test
from flowstone.engine.moving_time import advance, check_mark, lapse
from flowstone.engine.store import PostgresStore
from tests.docs.little_data import write
from tests.scenarios.eventually import eventually

DAY = timedelta(days=1)
INSTANTS = """
SELECT c.relname AS "table", a.attname AS "column"
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'flowstone'::regnamespace AND c.relkind = 'r'
    AND a.atttypid = 'timestamptz'::regtype AND a.attnum > 0 AND NOT a.attisdropped
"""
STAY = {("flowstone_workers", "started_at"), ("flowstone_workers", "heartbeat_at")} | {
    ("procrastinate_workers", "last_heartbeat")
}
"""What a living worker says of itself."""

ADVANCING = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE query LIKE 'SELECT pg_temp.flowstone_advance%' AND wait_event IN ('relation', 'PgSleep')
)
"""

EVENTS = ("procrastinate_events", "at")


def instants(dsn: str) -> Mapping[tuple[str, str], list[str | None]]:
    """Return what each column has, as text: Python knows no infinity of instants."""
    with psycopg.connect(dsn, row_factory=dict_row, options="-c timezone=UTC") as connection:
        columns = connection.execute(INSTANTS).fetchall()
        found = {}
        for it in columns:
            statement = (
                f'SELECT "{it["column"]}"::text AS at FROM flowstone.{it["table"]} '
                f'ORDER BY "{it["column"]}"'
            )
            rows = connection.execute(statement.encode()).fetchall()
            found[it["table"], it["column"]] = [row["at"] for row in rows]
        return found


def moved(dsn: str, at: str | None) -> str | None:
    if at is None or at >= "9999" or "infinity" in at:
        return at
    with psycopg.connect(dsn, options="-c timezone=UTC") as connection:
        statement = "SELECT (%s::timestamptz - interval '1 day')::text"
        (text,) = connection.execute(statement, [at]).fetchone() or (None,)
        return text


async def test_every_instant_moves_but_those_of_workers_and_of_never(dsn: str) -> None:
    await write(dsn)
    mark_as_test(dsn)
    before = instants(dsn)

    await advance(dsn, "flowstone", DAY)

    after = instants(dsn)
    assert before.keys() >= STAY
    assert sum(len(values) for values in before.values()) > 50
    for column, values in before.items():
        wanted = values if column in STAY else [moved(dsn, at) for at in values]
        if column == EVENTS:  # procrastinate notes beside that jobs were put to another time
            assert set(wanted) <= set(after[column])
        else:
            assert after[column] == wanted, column


async def test_the_time_of_a_plugins_tables_passes_too(dsn: str) -> None:
    mark_as_test(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE flowstone.tally_alembic_version (version_num text)")
        connection.execute("CREATE TABLE flowstone.tally_votes (cast_at timestamptz)")
        connection.execute("INSERT INTO flowstone.tally_votes VALUES ('2025-01-02T00:00Z')")

        await advance(dsn, "flowstone", DAY)

        cast = connection.execute("SELECT cast_at = '2025-01-01T00:00Z' FROM flowstone.tally_votes")
        assert cast.fetchone() == (True,)


async def test_who_has_written_to_a_later_table_can_go_on_to_an_earlier_one(dsn: str) -> None:
    mark_as_test(dsn)
    async with await psycopg.AsyncConnection.connect(dsn) as other, asyncio.TaskGroup() as group:
        await other.execute("SET deadlock_timeout = '1ms'")  # it would be the one to give way
        await other.execute("LOCK flowstone.flowstone_rate_uses IN ROW EXCLUSIVE MODE")
        advancing = group.create_task(advance(dsn, "flowstone", DAY))
        with psycopg.connect(dsn, autocommit=True) as onlooker:
            await eventually(lambda: onlooker.execute(ADVANCING).fetchone() == (True,))
        await other.execute("LOCK flowstone.procrastinate_jobs IN ROW EXCLUSIVE MODE")
        assert not advancing.done()
        await other.commit()


async def test_a_lease_that_is_ended_is_rescued_from(dsn: str) -> None:
    await write(dsn)
    mark_as_test(dsn)
    store = PostgresStore(dsn)
    await store.open()
    assert await store.rescue(max_rescues=5) == []
    with psycopg.connect(dsn) as connection:
        statement = "SELECT id FROM flowstone.flowstone_workers"
        (worker_id,) = connection.execute(statement).fetchone() or (0,)

    await lapse(dsn, "flowstone", worker_id)

    assert [it.worker_id for it in await store.rescue(max_rescues=5)] == [worker_id]
    await store.close()


async def test_nothing_happens_where_tests_are_not_at_home(dsn: str) -> None:
    await write(dsn)
    before = instants(dsn)

    with pytest.raises(InvalidOptionError, match="mark_as_test"):
        await advance(dsn, "flowstone", DAY)
    with pytest.raises(InvalidOptionError, match="mark_as_test"):
        await lapse(dsn, "flowstone", 1)
    with pytest.raises(InvalidOptionError, match="mark_as_test"):
        await check_mark(dsn, "flowstone")

    assert instants(dsn) == before


async def test_a_schema_that_is_not_there_has_no_time(dsn: str) -> None:
    mark_as_test(dsn)

    with pytest.raises(SchemaVersionError, match="flowstone db migrate"):
        await advance(dsn, "elsewhere", DAY)


class TestDisposableDatabases:
    async def test_are_migrated_marked_apart_and_dropped(self, server_dsn: str) -> None:
        databases = DisposableDatabases(server_dsn)
        with databases.one() as one, databases.one() as other:
            dsns = {one.prepared(), other.prepared()}
            assert one.prepared() == one.dsn
            for dsn in dsns:
                await check_mark(dsn, "flowstone")
            assert len(dsns) == 2
        databases.close()

        for dsn in dsns:
            with pytest.raises(psycopg.OperationalError, match="does not exist"):
                psycopg.connect(dsn)

    def test_are_not_made_before_they_are_used(self, server_dsn: str) -> None:
        databases = DisposableDatabases(server_dsn)
        with databases.one() as one:
            assert one.dsn is None
        databases.close()
