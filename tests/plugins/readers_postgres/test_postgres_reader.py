"""Rows of a query in the order of a key, from a real server."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest

from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.errors import InvalidOptionError, ReaderError
from flowstone.engine.dsn import for_asyncpg
from flowstone.plugins.readers_postgres import PostgresReader
from flowstone.plugins.readers_postgres.plugin import PostgresReadersPlugin
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from flowstone.testing.contracts.plugin_contract import PluginContract
from tests.conftest import a_database
from tests.plugins.reading import crashing_after_each_page, pages_of
from tests.ports import free_port

TABLES = """
CREATE TYPE mood AS ENUM ('sad', 'fine', 'happy');
CREATE TABLE numbers (id bigint PRIMARY KEY, name text NOT NULL, shop text NOT NULL);
INSERT INTO numbers SELECT it, 'n' || it, CASE it % 2 WHEN 0 THEN 'eu' ELSE 'us' END
FROM generate_series(1, 7) AS it;
CREATE TABLE visits (day date, "Nr" int, PRIMARY KEY (day, "Nr"));
INSERT INTO visits SELECT date '2025-01-01' + it / 3, it % 3 FROM generate_series(0, 7) AS it;
CREATE TABLE kinds (
    stamp timestamptz, wall timestamp, real_ float8, price numeric, key uuid, mood mood, text_ text,
    flag boolean, bytes bytea
);
INSERT INTO kinds SELECT
    timestamptz '2025-01-01 00:00:00.123456+00' + it * interval '1.000001 s',
    timestamp '2025-01-01' + it * interval '1 microsecond', 0.1 + it * 1e-13::float8,
    1.5 + it * 1e-20, md5(it::text)::uuid, ('{sad,fine,happy}'::mood[])[it + 1],
    E'a''\\\\"$1 %s ' || it, it > 0, decode('00ff' || lpad(it::text, 2, '0'), 'hex')
FROM generate_series(0, 2) AS it;
CREATE TABLE holes (id int);
INSERT INTO holes VALUES (1), (NULL), (3);
"""


@pytest.fixture(scope="module")
def dsn(server_dsn: str) -> Iterator[str]:
    """A database of the module's own, with some tables."""
    with a_database(server_dsn) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(TABLES.encode())
        yield dsn


@pytest.fixture
def numbers(dsn: str) -> dict[str, Any]:
    return {"dsn": dsn, "query": "SELECT id, name FROM numbers", "cursor_field": "id"}


def rows(*ids: int) -> list[dict[str, Any]]:
    return [{"id": it, "name": f"n{it}"} for it in ids]


class TestContract(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return PostgresReader()

    @pytest.fixture
    async def config(self, numbers: dict[str, Any]) -> Mapping[str, object]:
        return {**numbers, "count": True}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return rows(1, 2, 3, 4, 5, 6, 7)


class TestByTwoColumnsFromAPool(TestContract):
    @pytest.fixture
    async def pool(self, dsn: str) -> AsyncIterator[Any]:
        async with asyncpg.create_pool(**for_asyncpg(dsn), min_size=1, max_size=2) as pool:
            yield pool

    @pytest.fixture
    async def config(self, pool: Any) -> Mapping[str, object]:
        return {
            "pool": pool,
            "query": "SELECT * FROM visits WHERE day > $1",
            "arguments": [date(2024, 1, 1)],
            "cursor_field": ["day", "Nr"],
            "order": "desc",
        }

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return [
            {"day": date(2025, 1, 1) + timedelta(it // 3), "Nr": it % 3} for it in range(7, -1, -1)
        ]


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return PostgresReadersPlugin()


@pytest.mark.conformance(258)
async def test_pages_go_strictly_beyond_the_last_key(numbers: dict[str, Any]) -> None:
    pages = await pages_of(PostgresReader, {**numbers, "page_size": 2, "max_items": 5})

    assert [list(page.items) for page in pages] == [rows(1, 2), rows(3, 4), rows(5)]
    assert [page.progress["position"] for page in pages] == [
        {"after": ["2"]},
        {"after": ["4"]},
        {"after": ["5"]},
    ]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_crash_after_or_within_any_page_loses_and_repeats_nothing(
    numbers: dict[str, Any], size: int
) -> None:
    items = await crashing_after_each_page(PostgresReader, {**numbers, "page_size": size})

    assert items == rows(1, 2, 3, 4, 5, 6, 7)


async def test_what_others_write_moves_nothing(dsn: str) -> None:
    config = {"dsn": dsn, "query": "SELECT id FROM moving", "cursor_field": "id", "page_size": 2}
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    await connection.execute("CREATE TABLE moving AS SELECT it AS id FROM generate_series(1, 6) it")
    [first] = await pages_of(PostgresReader, config, upto=1)
    await connection.execute("DELETE FROM moving WHERE id IN (1, 2, 4)")
    await connection.execute("INSERT INTO moving VALUES (0), (7)")
    await connection.close()

    rest = await pages_of(PostgresReader, config, first.progress)

    assert [it["id"] for page in rest for it in page.items] == [3, 5, 6, 7]


@pytest.mark.parametrize(
    "column", ["stamp", "wall", "real_", "price", "key", "mood", "text_", "flag", "bytes"]
)
async def test_a_key_of_any_type_comes_back_exactly(dsn: str, column: str) -> None:
    unique = [column, "stamp"] if column == "flag" else column
    config = {"dsn": dsn, "query": "SELECT * FROM kinds", "cursor_field": unique, "page_size": 1}

    items = await crashing_after_each_page(PostgresReader, config)

    values = [it[column] for it in items]
    assert len(values) == 3
    assert sorted(it["stamp"] for it in items) == [
        datetime(2025, 1, 1, tzinfo=UTC) + timedelta(microseconds=123456 + it * 1000001)
        for it in range(3)
    ]
    if column not in ("mood", "text_"):
        assert values == sorted(values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", Decimal("1.5")),
        ("stamp", datetime(2025, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("real_", 0.1),
        ("key", UUID("c4ca4238-a0b9-2382-0dcc-509a6f75849b")),
        ("text_", "a'\\\"$1 %s 0"),
    ],
)
async def test_it_starts_after_a_given_key(dsn: str, field: str, value: object) -> None:
    query = {"dsn": dsn, "query": "SELECT * FROM kinds", "cursor_field": field}

    pages = await pages_of(PostgresReader, {**query, "start_after": value})

    found = [it[field] for page in pages for it in page.items]
    assert value not in found
    assert len(found) == 2


async def test_a_row_becomes_what_the_selector_makes_of_it(numbers: dict[str, Any]) -> None:
    async def later(row: Mapping[str, Any]) -> str:
        return f"{row['id']}!"

    for selector in (lambda row: f"{row['id']}!", later):
        config = {**numbers, "row_selector": selector, "max_items": 2}
        [page] = await pages_of(PostgresReader, config)
        assert page.items == ["1!", "2!"]


@pytest.mark.conformance(257)
@pytest.mark.parametrize("missing", ["query", "cursor_field", "dsn"])
async def test_what_it_needs_is_said(numbers: dict[str, Any], missing: str) -> None:
    del numbers[missing]

    with pytest.raises(InvalidOptionError, match=rf"{missing}="):
        await pages_of(PostgresReader, numbers)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cursor_field": "nr"}, "cursor_field='nr' is no column of the query, which has id, name"),
        ({"query": "SELECT id FROM holes"}, "some rows have NULL there"),
        ({"query": "SELECT 1 AS id FROM numbers"}, "two rows have 1; add a column that tells them"),
        ({"arguments": [1]}, "the query has 0 parameters, and arguments= has 1"),
        ({"order": "up"}, "order='up' must be"),
        ({"start_after": [1, 2]}, "start_after= needs a value for each of id"),
        ({"start_after": b"1"}, "start_after=b'1' must be a text"),
        ({"querry": "x"}, "did you mean 'query'"),
    ],
)
async def test_what_would_lose_rows_or_is_wrong_is_refused(
    numbers: dict[str, Any], wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        await pages_of(PostgresReader, {**numbers, **wrong})


@pytest.mark.parametrize("query", ["SELECT oops FROM numbers", "DELETE FROM numbers RETURNING id"])
async def test_what_the_database_refuses_is_no_passing_failure(
    numbers: dict[str, Any], query: str
) -> None:
    with pytest.raises(ReaderError) as caught:
        await pages_of(PostgresReader, {**numbers, "query": query})

    assert not caught.value.retryable


async def test_a_query_that_writes_writes_nothing(numbers: dict[str, Any], dsn: str) -> None:
    config = {**numbers, "query": "SELECT id, nextval('ids') FROM numbers"}
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    await connection.execute("CREATE SEQUENCE ids")

    with pytest.raises(ReaderError, match="read-only transaction"):
        await pages_of(PostgresReader, config)

    await connection.close()


async def test_a_lost_connection_is_retryable_and_made_anew(
    numbers: dict[str, Any], dsn: str
) -> None:
    reader = PostgresReader()
    state = await reader.init(numbers, {})
    first = await reader.read(state, 2)
    killer = await asyncpg.connect(**for_asyncpg(dsn))
    await killer.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'flowstone item reader'"
    )
    await killer.close()

    caught: list[bool] = []
    rest: list[object] = []
    for _ in range(2):
        try:
            read = await reader.read(first.state, 1000)
        except Exception as error:
            caught.append(getattr(error, "retryable", False))
        else:
            rest = [*read.items]
    await reader.close(first.state)

    assert set(caught) <= {True}
    assert rest == rows(3, 4, 5, 6, 7)


async def test_a_query_that_is_cut_short_is_retryable(numbers: dict[str, Any], dsn: str) -> None:
    impatient = f"{dsn}{'&' if '?' in dsn else '?'}options=-c%20statement_timeout%3D50"
    slow = {"dsn": impatient, "query": "SELECT id, pg_sleep(600)::text FROM numbers"}

    with pytest.raises(ReaderError) as caught:
        await pages_of(PostgresReader, {**numbers, **slow})

    assert caught.value.retryable


async def test_nobody_answering_is_retryable() -> None:
    with pytest.raises(ReaderError) as caught:
        await pages_of(
            PostgresReader,
            {
                "dsn": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
                "query": "SELECT 1 AS id",
                "cursor_field": "id",
            },
        )

    assert caught.value.retryable
