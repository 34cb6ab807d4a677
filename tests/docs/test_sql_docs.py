"""docs/sql.md: every view and column is in it, and every statement in it has an answer."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from flowstone.core.status import TRANSITIONS, Event, Status
from tests.architecture.sources import ROOT
from tests.conftest import a_database
from tests.docs import little_data
from tests.docs.code_blocks import Block, blocks

PAGE = "docs/sql.md"
ROLE = "A role that may only read"
QUESTIONS = [it for it in blocks(PAGE, "sql") if it.heading != ROLE]

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'flowstone'::regnamespace AND c.relkind = 'v'
ORDER BY c.relname, a.attnum
"""
AGE = """
UPDATE flowstone.flowstone_materializations SET finished_at = finished_at - interval '2 days'
WHERE asset = 'shop.inventory'
"""


@pytest.fixture(scope="module")
def database(server_dsn: str, template_database: str) -> Iterator[str]:
    """One database with a little data for all of these tests, which only read."""
    with a_database(server_dsn, template_database) as dsn:
        yield dsn


@pytest.fixture
async def pg(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    connection = await asyncpg.connect(database)
    if not await connection.fetchval("SELECT count(*) FROM flowstone.runs"):
        await little_data.write(database)
        await connection.execute(AGE)
    yield connection
    await connection.close()


def tables() -> dict[str, list[list[str]]]:
    """Return the rows of each table of the page, without their headers, by the heading above."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in (ROOT / PAGE).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(heading, []).append(cells)
    return {heading: rows[2:] for heading, rows in found.items()}


class TestViews:
    async def test_every_view_and_column_is_described_with_its_type(
        self, pg: asyncpg.Connection
    ) -> None:
        views = [tuple(row) for row in await pg.fetch(COLUMNS)]

        described = [
            (heading, column, type_.replace("timestamptz", "timestamp with time zone"))
            for heading, rows in sorted(tables().items())
            if heading.islower()
            for column, type_, _ in rows
        ]

        assert described == views

    async def test_the_page_lists_the_views_in_the_order_in_which_they_are_defined(self) -> None:
        text = (ROOT / "sql/core/views.sql").read_text(encoding="utf-8")

        assert [it for it in tables() if it.islower()] == re.findall(
            r"^CREATE VIEW (\w+)", text, re.MULTILINE
        )

    async def test_every_state_is_described(self) -> None:
        states = tables()["States"]

        assert [row[0].strip("`") for row in states] == [it.value for it in Status]
        for name, _, following in states:
            reached = {after for (before, _), after in TRANSITIONS.items() if f"`{before}`" == name}
            assert (following == "nothing") == (not reached)
            if "any but" not in following:
                assert set(re.findall(r"`(\w+)`", following)) == {*reached}, name

    async def test_a_running_one_goes_on_to_what_the_page_says(self) -> None:
        (following,) = [row[2] for row in tables()["States"] if row[0] == "`running`"]
        left_out = following.partition(";")[0]
        reached = {after for (before, _), after in TRANSITIONS.items() if before is Status.RUNNING}

        assert set(re.findall(r"`(\w+)`", left_out)) == {*Status} - reached - {Status.RUNNING}
        assert TRANSITIONS[Status.RUNNING, Event.RETRIED] is Status.READY


class TestAnswers:
    @pytest.mark.parametrize("question", QUESTIONS, ids=str)
    async def test_a_question_has_an_answer(self, pg: asyncpg.Connection, question: Block) -> None:
        assert question.heading.endswith("?")

        assert await pg.fetch(question.text)

    async def test_what_runs_is_shown_with_its_worker(self, pg: asyncpg.Connection) -> None:
        (row,) = await answer(pg, "What is running?")

        assert (row["asset"], row["host"], row["pid"]) == ("shop.photographs", "host.example", 4711)
        assert row["for_how_long"] > timedelta()

    async def test_a_run_is_counted(self, pg: asyncpg.Connection) -> None:
        (row,) = await answer(pg, "How far is a run?")

        counts = {name: value for name, value in row.items() if value}
        assert counts == {"status": "succeeded", "total": 3, "succeeded": 3}

    async def test_a_failure_says_why(self, pg: asyncpg.Connection) -> None:
        (row,) = await answer(pg, "What failed, and why?")
        (whole,) = await answer(pg, "What failed, and why?", 1)

        assert (row["asset"], row["error_type"]) == ("shop.prices", "ValueError")
        assert "no price for 'tea'" in row["error_message"]
        assert "little_data.py" in whole["traceback"]

    async def test_what_could_not_run_says_because_of_what(self, pg: asyncpg.Connection) -> None:
        (row,) = await answer(pg, "What could not run because of it?")

        assert (row["asset"], row["because_of"]) == ("shop.catalog", "shop.prices")

    async def test_what_is_tried_again_says_when(self, pg: asyncpg.Connection) -> None:
        retried, tomorrow = await answer(pg, "What will be tried again, and when?")

        assert (retried["asset"], retried["attempt"]) == ("shop.rates", 1)
        assert "the service is away" in retried["error_message"]
        assert (tomorrow["asset"], tomorrow["error_message"]) == ("shop.revenue", None)

    async def test_what_waits_says_for_what(self, pg: asyncpg.Connection) -> None:
        (row,) = await answer(pg, "What does it wait for?")
        (behind,) = await answer(pg, "What does it wait for?", 1)

        assert (row["asset"], row["waiting_on"]) == ("shop.price_list", "approval")
        assert (behind["upstream_asset"], behind["upstream_status"]) == (
            "shop.price_list",
            "waiting",
        )

    async def test_what_was_reused_says_why(self, pg: asyncpg.Connection) -> None:
        rows = await answer(pg, "What was reused, and why? What ran, and why?")

        assert [(row["asset"], row["what"]) for row in rows] == [
            ("shop.orders", "reused"),
            ("shop.report", "succeeded"),
            ("shop.revenue", "reused"),
        ]
        assert [row["reason"].partition(" ")[0] for row in rows] == [
            "materialized",
            "forced",
            "materialized",
        ]

    async def test_a_field_of_a_value_can_be_taken(self, pg: asyncpg.Connection) -> None:
        (question,) = blocks_of("Which value is there now?")

        total = await pg.fetchval(
            question.text.replace(" value\n", " value ->> 'total'\n"), column=4
        )

        assert total == "200"

    async def test_a_stale_value_is_found(self, pg: asyncpg.Connection) -> None:
        (row,) = await answer(pg, "Which values are stale?")

        assert (row["asset"], row["partition"]) == ("shop.orders", "d:2025-01-14")

    async def test_queues_tell_what_is_due_later_and_running(self, pg: asyncpg.Connection) -> None:
        rows = {row["queue"]: row for row in await answer(pg, "How deep are the queues?")}

        assert [rows["default"][it] for it in ("due", "later", "running")] == [0, 3, 0]
        assert [rows["slow"][it] for it in ("due", "later", "running")] == [0, 0, 1]

    async def test_lineage_leads_both_ways(self, pg: asyncpg.Connection) -> None:
        up = await answer(pg, "What was it made from?")
        down = await answer(pg, "What was made from it?")

        assert [(row["distance"], row["asset"]) for row in up] == [
            (1, "shop.revenue"),
            (2, "shop.orders"),
        ]
        assert [(row["distance"], row["asset"], row["is_current"]) for row in down] == [
            (1, "shop.revenue", True),
            (2, "shop.report", False),
            (2, "shop.report", True),
        ]


async def test_a_reader_reads_the_views_and_nothing_else(pg: asyncpg.Connection) -> None:
    if not await pg.fetchval("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = user"):
        pytest.skip("this server's user may not create roles")
    transaction = pg.transaction()
    await transaction.start()
    try:
        for block in blocks_of(ROLE):
            await pg.execute(block.text)
        await pg.execute("SET LOCAL ROLE flowstone_reader")
        for view in (it for it in tables() if it.islower()):
            await pg.fetch(f"SELECT * FROM flowstone.{view}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pg.fetch("SELECT FROM flowstone.flowstone_runs")
    finally:
        await transaction.rollback()


def blocks_of(heading: str) -> list[Block]:
    return [it for it in blocks(PAGE, "sql") if it.heading == heading]


async def answer(pg: asyncpg.Connection, heading: str, place: int = 0) -> list[Any]:
    """Return what a heading's statement answers, the first one of several if not said."""
    return list(await pg.fetch(blocks_of(heading)[place].text))
