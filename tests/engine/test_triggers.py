"""The statement-level triggers leave what procrastinate's own leave, at a cost per statement."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product

import asyncpg
import psycopg
import pytest

from flowstone.core.errors import SchemaVersionError
from flowstone.engine import triggers
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import check
from flowstone.engine.triggers import TriggerSet

STATUSES = ("todo", "doing", "succeeded", "failed", "cancelled", "aborting", "aborted")
DATE = "2030-01-01 00:00:00+00"
LATER = "2031-01-01 00:00:00+00"

Story = Callable[[asyncpg.Connection], Awaitable[object]]


@dataclass
class Trace:
    """What a story left: event rows, who was woken, and which aborts were announced."""

    events: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    woken: set[str] = field(default_factory=set)
    aborts: Counter[tuple[str, int]] = field(default_factory=Counter)


@asynccontextmanager
async def stage(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in the schema, on a table of jobs numbered from 1."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    try:
        await connection.execute("SET search_path TO flowstone")
        await connection.execute("TRUNCATE procrastinate_jobs RESTART IDENTITY CASCADE")
        yield connection
    finally:
        await connection.close()


async def traced(dsn: str, story: Story) -> Trace:
    trace = Trace()

    def hear(_: object, __: int, channel: str, payload: object) -> None:
        message = json.loads(str(payload))
        if message["type"] == "abort_job_requested":
            trace.aborts[channel, message["job_id"]] += 1
        else:
            assert message["type"] == "job_inserted"
            trace.woken.add(channel)

    async with stage(dsn) as connection:
        for channel in ("any_queue_v1", "queue_v1#a", "queue_v1#b"):
            await connection.add_listener(f"procrastinate_{channel}", hear)
        await story(connection)
        await connection.fetchval("SELECT 1")  # notifications come before the answer
        rows = await connection.fetch(
            """
            SELECT j.task_name, e.type::text,
                CASE WHEN e.type = 'scheduled' THEN e.at AT TIME ZONE 'UTC' END::text AS at,
                e.at > now() - interval '1 minute' AS is_recent
            FROM procrastinate_events e JOIN procrastinate_jobs j ON j.id = e.job_id
            """
        )
        assert all(row["is_recent"] for row in rows)
        trace.events.update((row["task_name"], row["type"], row["at"]) for row in rows)
        await connection.execute("UNLISTEN *")
        await connection.reset()
    return trace


async def traces_of_both(dsn: str, story: Story) -> tuple[Trace, Trace]:
    triggers.restore(dsn)
    assert triggers.status(dsn) is TriggerSet.STOCK
    stock = await traced(dsn, story)
    triggers.install(dsn)
    assert triggers.status(dsn) is TriggerSet.BATCHED
    return stock, await traced(dsn, story)


async def insert(connection: asyncpg.Connection, *rows: tuple[object, ...]) -> None:
    """Insert with one statement: (queue, name, status, scheduled_at, abort_requested)."""
    await connection.execute(
        """
        INSERT INTO procrastinate_jobs
            (queue_name, task_name, status, scheduled_at, abort_requested)
        SELECT q, t, s::procrastinate_job_status, at::timestamptz, abort
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[])
            AS u(q, t, s, at, abort)
        """,
        *map(list, zip(*rows, strict=True)),
    )


def allowed(status: str, abort: bool) -> bool:
    return not (status == "todo" and abort)


class TestTheSameEvents:
    async def test_for_every_change_of_status(self, dsn: str) -> None:
        async def story(connection: asyncpg.Connection) -> None:
            pairs = list(product(STATUSES, STATUSES))
            await insert(
                connection, *(("a", f"{old}-{new}", old, None, False) for old, new in pairs)
            )
            await connection.execute(
                "UPDATE procrastinate_jobs "
                "SET status = split_part(task_name, '-', 2)::procrastinate_job_status"
            )

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock
        assert ours.events["doing-succeeded", "succeeded", None] == 1
        assert ours.events["failed-todo", "retried", None] == 1

    async def test_for_every_change_in_a_statement_of_its_own(self, dsn: str) -> None:
        async def story(connection: asyncpg.Connection) -> None:
            for old, new in product(STATUSES, STATUSES):
                await insert(connection, ("a", f"{old}-{new}", old, None, False))
                await connection.execute(
                    "UPDATE procrastinate_jobs SET status = $1::text::procrastinate_job_status "
                    "WHERE id = (SELECT max(id) FROM procrastinate_jobs)",
                    new,
                )

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock

    async def test_for_every_combination_of_status_abort_and_date(self, dsn: str) -> None:
        states = [
            (status, abort, date)
            for status, abort, date in product(STATUSES, (False, True), (None, DATE, LATER))
            if allowed(status, abort)
        ]

        async def story(connection: asyncpg.Connection) -> None:
            moves = list(product(states, states))
            await insert(
                connection,
                *(
                    ("ab"[number % 2], f"{number}", old[0], old[2], old[1])
                    for number, (old, _) in enumerate(moves)
                ),
            )
            await connection.execute(
                """
                UPDATE procrastinate_jobs
                SET status = s::procrastinate_job_status, abort_requested = abort,
                    scheduled_at = at::timestamptz
                FROM unnest($1::text[], $2::boolean[], $3::text[])
                    WITH ORDINALITY AS u(s, abort, at, number)
                WHERE task_name = (number - 1)::text
                """,
                *map(list, zip(*(new for _, new in moves), strict=True)),
            )

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock
        assert ours.aborts

    @pytest.mark.parametrize(
        "assignment",
        [
            "priority = 5",
            "args = '{}'",
            "worker_id = NULL",
            "status = status",
            "abort_requested = abort_requested",
            "abort_requested = false",
            f"scheduled_at = '{LATER}'",
            "scheduled_at = NULL",
            "scheduled_at = scheduled_at, attempts = attempts + 1",
        ],
    )
    async def test_for_an_update_that_changes_something_else(
        self, dsn: str, assignment: str
    ) -> None:
        async def story(connection: asyncpg.Connection) -> None:
            await insert(
                connection,
                *(
                    ("a", f"{status}-{abort}-{date}", status, date, abort)
                    for status, abort, date in product(STATUSES, (False, True), (None, DATE))
                    if allowed(status, abort)
                ),
            )
            await connection.execute(f"UPDATE procrastinate_jobs SET {assignment}")

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock

    async def test_for_an_insert_that_meets_a_row_that_is_there(self, dsn: str) -> None:
        async def story(connection: asyncpg.Connection) -> None:
            await insert(connection, ("a", "old", "doing", None, False))
            await connection.execute(
                "INSERT INTO procrastinate_jobs (id, queue_name, task_name) "
                "VALUES (1, 'b', 'old'), (1000, 'b', 'new') "
                "ON CONFLICT (id) DO UPDATE SET status = 'succeeded'"
            )

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock

    async def test_for_statements_that_touch_nothing(self, dsn: str) -> None:
        async def story(connection: asyncpg.Connection) -> None:
            await connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
            await connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name) SELECT 'a', 'b' WHERE false"
            )

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock == Trace()

    async def test_for_the_life_of_a_job_through_procrastinates_functions(self, dsn: str) -> None:
        async def story(connection: asyncpg.Connection) -> None:
            await connection.execute(
                """
                SELECT procrastinate_defer_jobs_v1(array_agg(
                    ROW('a', 't' || i, 0, NULL, NULL, '{}', NULL)::procrastinate_job_to_defer_v1
                    ORDER BY i
                )) FROM generate_series(1, 8) AS i
                """
            )
            for statement in (
                "SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)",
                "SELECT procrastinate_finish_job_v1(1, 'succeeded', false)",
                "SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)",
                f"SELECT procrastinate_retry_job_v2(2, '{DATE}', NULL, 'b', NULL)",
                "SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)",
                "SELECT procrastinate_cancel_job_v1(3, true, false)",
                "SELECT procrastinate_cancel_job_v1(3, true, false)",
                "SELECT procrastinate_finish_job_v1(3, 'aborted', false)",
                "SELECT procrastinate_cancel_job_v1(4, false, false)",
                "SELECT procrastinate_cancel_job_v1(5, true, false)",
                "SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)",
                "SELECT procrastinate_finish_job_v1(6, 'failed', false)",
                "SELECT procrastinate_retry_job_v2(6, NULL, NULL, NULL, NULL)",
                "SELECT procrastinate_cancel_job_v1(7, false, true)",
            ):
                await connection.execute(statement)

        stock, ours = await traces_of_both(dsn, story)

        assert ours == stock
        assert ours.events["t3", "abort_requested", None] == 2
        assert ours.aborts == {
            ("procrastinate_any_queue_v1", 3): 1,
            ("procrastinate_queue_v1#a", 3): 1,
        }


class TestNotifications:
    async def test_one_per_queue_and_statement_with_its_highest_id(self, dsn: str) -> None:
        heard: list[tuple[str, str]] = []
        async with stage(dsn) as connection:
            for channel in ("any_queue_v1", "queue_v1#a", "queue_v1#b"):
                await connection.add_listener(
                    f"procrastinate_{channel}",
                    lambda _, __, channel, payload: heard.append((channel, str(payload))),
                )
            rows = [("ab"[number % 2], "t", "todo", None, False) for number in range(10)]
            await insert(connection, *rows)
            await insert(connection, ("a", "t", "doing", None, False))
            await connection.fetchval("SELECT 1")
            await connection.reset()

        assert sorted(heard) == [
            ("procrastinate_any_queue_v1", '{"type" : "job_inserted", "job_id" : 10}'),
            ("procrastinate_queue_v1#a", '{"type" : "job_inserted", "job_id" : 9}'),
            ("procrastinate_queue_v1#b", '{"type" : "job_inserted", "job_id" : 10}'),
        ]


class TestCost:
    async def test_a_hundred_jobs_that_succeed_cost_one_insert_of_events(self, dsn: str) -> None:
        async with stage(dsn) as connection:
            await insert(connection, *(("a", "t", "doing", None, False) for _ in range(100)))
            await connection.execute("CREATE TABLE statements (query text)")
            await connection.execute(
                """
                CREATE FUNCTION count_statements() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO statements VALUES (current_query()); RETURN NULL; END $$;
                CREATE TRIGGER counted AFTER INSERT ON procrastinate_events
                FOR EACH STATEMENT EXECUTE FUNCTION count_statements()
                """
            )
            await connection.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")

            assert await connection.fetchval("SELECT count(*) FROM statements") == 1

    async def test_a_plan_made_for_one_row_serves_ten_thousand(self, dsn: str) -> None:
        async with stage(dsn) as connection:
            await insert(connection, ("a", "t", "todo", None, False))
            await connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
            await insert(connection, *(("a", "t", "doing", None, False) for _ in range(10_000)))
            await connection.execute("SET statement_timeout = '15s'")  # quadratic takes minutes

            await connection.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")


class TestTheSwitch:
    def test_a_migrated_schema_has_ours(self, dsn: str) -> None:
        assert triggers.status(dsn) is TriggerSet.BATCHED

    def test_there_and_back_and_twice_over(self, dsn: str) -> None:
        for _ in range(2):
            triggers.restore(dsn)
            assert triggers.status(dsn) is TriggerSet.STOCK
            check(dsn)
        for _ in range(2):
            triggers.install(dsn)
            assert triggers.status(dsn) is TriggerSet.BATCHED
            check(dsn)

    @pytest.mark.parametrize(
        "meddling",
        [
            "ENABLE TRIGGER procrastinate_trigger_status_events_update_v1",
            "DISABLE TRIGGER flowstone_jobs_updated",
            "DISABLE TRIGGER flowstone_job_moved",
            "DISABLE TRIGGER ALL",
        ],
    )
    def test_half_of_each_is_seen(self, dsn: str, meddling: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(f"ALTER TABLE flowstone.procrastinate_jobs {meddling}".encode())

        assert triggers.status(dsn) is TriggerSet.MIXED

    def test_installing_mends_half_of_each(self, dsn: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "ALTER TABLE flowstone.procrastinate_jobs "
                "ENABLE TRIGGER procrastinate_trigger_status_events_update_v1, "
                "DISABLE TRIGGER flowstone_jobs_inserted, "
                "DISABLE TRIGGER flowstone_job_deleted"
            )

        triggers.install(dsn)

        assert triggers.status(dsn) is TriggerSet.BATCHED

    def test_a_database_without_the_tables_says_what_to_run(self, bare_dsn: str) -> None:
        with pytest.raises(SchemaVersionError, match="flowstone db migrate"):
            triggers.install(bare_dsn)

    async def test_ours_work_in_a_session_that_has_another_search_path(
        self, dsn: str, pg: asyncpg.Connection
    ) -> None:
        await pg.execute(
            "INSERT INTO flowstone.procrastinate_jobs (queue_name, task_name) VALUES ('a', 't')"
        )
        await pg.execute("UPDATE flowstone.procrastinate_jobs SET status = 'doing'")
        await pg.execute("UPDATE flowstone.procrastinate_jobs SET abort_requested = true")

        events = await pg.fetch("SELECT type::text FROM flowstone.procrastinate_events ORDER BY id")
        assert [row["type"] for row in events] == ["deferred", "started", "abort_requested"]
