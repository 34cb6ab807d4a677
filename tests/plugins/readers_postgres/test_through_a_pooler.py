"""Rows of a query through a PgBouncer in transaction mode: nothing is expected of the session."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import asyncpg
import psycopg
import pytest

from flowstone.engine.dsn import for_asyncpg
from flowstone.plugins.readers_postgres import PostgresReader
from tests.conftest import a_database
from tests.plugins.reading import crashing_after_each_page, pages_of
from tests.scenarios.pooler import BINARY, pooler

pytestmark = pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed")

TABLE = """
CREATE TABLE visits (id bigint, day date, PRIMARY KEY (day, id));
INSERT INTO visits SELECT it, date '2025-01-09' + it FROM generate_series(1, 7) AS it;
"""
KEYS = [[f"2025-01-{it + 9}", str(it)] for it in range(1, 8)]


@pytest.fixture(scope="module")
def dsn(server_dsn: str) -> Iterator[str]:
    with a_database(server_dsn) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(TABLE.encode())
        yield dsn


@pytest.fixture
def visits() -> dict[str, Any]:
    query = "SELECT id, day, pg_backend_pid() AS server FROM visits WHERE id > $1"
    cursor_field = ["day", "id"]
    return {"query": query, "arguments": [0], "cursor_field": cursor_field}


async def client(dsn: str, **settings: str) -> asyncpg.Connection:
    return await asyncpg.connect(
        **for_asyncpg(dsn), statement_cache_size=0, server_settings=settings
    )


async def servers_of(config: dict[str, Any], pooled: str) -> list[object]:
    """Return which server gave each row, of two; for every page the other one is lent."""
    others = [await client(pooled) for _ in range(2)]
    reader = PostgresReader()
    state = await reader.init(config, {})
    servers: list[object] = []
    taken = others[0].transaction()
    await taken.start()
    for other in cycle(reversed(others)):
        read = await reader.read(state, 1)
        state = read.state
        servers += [dict(it)["server"] for it in read.items]  # type: ignore[call-overload]
        if read.is_last:
            break
        # What is free is what gave this page: once it is taken, the other one is let go.
        held, taken = taken, other.transaction()
        await taken.start()
        await held.rollback()
    await reader.close(state)
    for connection in others:
        await connection.close()
    return servers


async def test_every_page_may_come_from_another_server(dsn: str, visits: dict[str, Any]) -> None:
    with pooler(dsn, servers=2) as pooled:
        servers = await servers_of({**visits, "dsn": pooled}, pooled)

    assert servers == [servers[0], servers[1]] * 3 + [servers[0]]
    assert servers[0] != servers[1]


async def test_so_it_may_with_a_pool_that_prepares_nothing(
    dsn: str, visits: dict[str, Any]
) -> None:
    with pooler(dsn, servers=2) as pooled:
        async with asyncpg.create_pool(
            **for_asyncpg(pooled), min_size=1, max_size=1, statement_cache_size=0
        ) as pool:
            servers = await servers_of({**visits, "pool": pool}, pooled)

    assert len(servers) == len(KEYS)
    assert len({*servers}) == 2


async def test_settings_of_others_do_not_reach_it_and_nothing_of_it_stays(
    dsn: str, visits: dict[str, Any]
) -> None:
    with pooler(dsn, servers=1) as pooled:
        other = await client(pooled, DateStyle="German")
        found: list[Any] = []
        kept = None
        while not found or not found[-1].is_last:
            assert await other.fetchval("SELECT day::text FROM visits LIMIT 1") == "10.01.2025"
            found += await pages_of(
                PostgresReader, {**visits, "dsn": pooled, "page_size": 1}, kept, upto=1
            )
            kept = found[-1].progress

        left = "SELECT array_agg(name) FROM pg_prepared_statements WHERE name <> ''"
        assert await other.fetchval(left) is None
        await other.close()

    assert [it.progress["position"]["after"] for it in found] == KEYS


async def test_a_crash_after_any_page_loses_and_repeats_nothing(
    dsn: str, visits: dict[str, Any]
) -> None:
    plain = {**visits, "query": "SELECT id, day FROM visits WHERE id > $1", "page_size": 3}
    with pooler(dsn) as pooled:
        items = await crashing_after_each_page(PostgresReader, {**plain, "dsn": pooled})

    assert [it["id"] for it in items] == [*range(1, 8)]
