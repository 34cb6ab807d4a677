"""Unique jobs on Postgres: what they cost others, and that what is wrong with keys is found."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import asyncpg
import pytest

from flowstone.core.contracts.job_queue import JobChange, JobSelection, NewJob
from flowstone.core.retention import Retention
from flowstone.core.unique_key import OnConflict
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    cancelled,
    failed,
    new_worker,
    retried,
    skipped,
    succeeded,
)
from flowstone.testing.contracts.store_unique_jobs import (
    ALL,
    MINUTE,
    WAITING,
    created,
    unique_job,
)
from tests.engine.test_postgres_store import shift
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

VIOLATIONS = "SELECT violation, key, materialization_id FROM flowstone_unique_violations_v1()"
MOVE = """
EXPLAIN (ANALYZE, FORMAT JSON)
UPDATE flowstone_materializations SET status = $1::text::flowstone_status
"""
READ = """
SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
WHERE relname = 'flowstone_unique_keys'
"""
KEYS = "SELECT array_agg(key ORDER BY key) FROM flowstone_unique_keys"
A_TENTH_OF_COMPARISONS = """
SELECT count(*) FROM generate_series(1, 8000) one JOIN generate_series(1, 800) other ON one <> other
"""
EXPIRE = "UPDATE flowstone_materializations SET unique_until = clock_timestamp() - interval '1 s'"


@pytest.fixture
async def store(dsn: str, pg: asyncpg.Connection) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    await pg.execute("SET search_path TO flowstone")
    yield store
    await store.close()


class TestCosts:
    async def _calls(self, pg: asyncpg.Connection, status: str) -> int:
        """Let all rows have a status, and return how often a trigger was called."""
        plan = json.loads(await pg.fetchval(MOVE.replace("$1", f"'{status}'")))
        return sum(int(it["Calls"]) for it in plan[0].get("Triggers", []))

    async def test_a_job_without_a_key_calls_no_trigger(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await store.enqueue([NewJob("test.plain", "{}", QUEUE)] * 3)
        for status in ("running", "ready", "running", "succeeded"):
            assert await self._calls(pg, status) == 0

    async def test_one_with_a_key_calls_it_and_lets_go_where_its_state_is_not_covered(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        # What it covers is asked in the function: in the condition all others would pay for it.
        held = "SELECT count(*) FROM flowstone_unique_keys"
        await store.enqueue([unique_job(it) for it in "abc"])
        for status in ("running", "ready", "running"):
            assert (await self._calls(pg, status), await pg.fetchval(held)) == (3, 3)
        assert (await self._calls(pg, "succeeded"), await pg.fetchval(held)) == (3, 0)

    async def test_a_turn_calls_it_for_none_that_starts_and_ends(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await pg.execute(
            "CREATE OR REPLACE FUNCTION flowstone_keep_unique() RETURNS trigger LANGUAGE plpgsql"
            " AS $$BEGIN RAISE EXCEPTION 'it was called'; END$$"
        )
        await store.enqueue([unique_job(it) for it in "abcd"])
        await store.enqueue([unique_job("e", states=ALL), unique_job("f", within=MINUTE)])
        worker = await new_worker(store)
        ends = (succeeded, skipped, failed, cancelled, succeeded, succeeded)
        await worker.settle(*(end(it) for end, it in zip(ends, await worker.claims(), strict=True)))

        assert await pg.fetchval(KEYS) == ["e"]
        assert await pg.fetch(VIOLATIONS) == []

    async def test_a_replacement_reads_no_more_for_a_backlog(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        # The plan is made when there are some, and statistics say that there are none.
        await pg.execute("VACUUM ANALYZE procrastinate_jobs")
        await store.enqueue([unique_job(on_conflict=OnConflict.REPLACE)])
        read = []
        for count in (500, 5000):
            await store.enqueue([NewJob("test.plain", "{}", QUEUE)] * count)
            read.append(await _blocks_of_a_replacement(pg))
        assert read[1] <= read[0] * 1.3 + 20

    async def test_a_batch_of_thousands_is_not_compared_each_with_each(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        # That is 64 million comparisons, several times over; otherwise it is half a second.
        # On a slow machine each takes its time.
        began = time.monotonic()
        await pg.fetchval(A_TENTH_OF_COMPARISONS)
        limit = 5 + 10 * (time.monotonic() - began)
        await pg.execute(f"SET statement_timeout = '{limit * 1000:.0f}'")
        jobs = [
            unique_job(f"{it}", within=MINUTE, on_conflict=OnConflict.REPLACE)
            for it in range(8_000)
        ]
        first = await store.enqueue(jobs, conn=pg)
        again = await store.enqueue(jobs, conn=pg)
        assert all(it.replaced for it in again)
        assert [it.job_id for it in again] == [it.job_id for it in first]

        await pg.execute(EXPIRE)
        assert all(it.created for it in await store.enqueue(jobs, conn=pg))

    async def test_the_conditions_of_triggers_call_no_function_of_ours(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        # Each statement plans them anew, and reads an SQL function in them from its source.
        triggers = await pg.fetch(
            "SELECT tgname FROM pg_trigger"
            " WHERE tgrelid IN"
            "     ('procrastinate_jobs'::regclass, 'flowstone_materializations'::regclass)"
            "   AND NOT tgisinternal AND tgqual IS NOT NULL"
            "   AND pg_get_triggerdef(oid) ~ 'WHEN .*flowstone_[a-z_]+\\(.*EXECUTE'"
        )
        assert [it["tgname"] for it in triggers] == []

    async def test_a_batch_reads_what_it_has_keys_of_however_many_there_are(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        # Enough calls that plans are kept, from when the tables were empty.
        for number in range(8):
            await store.enqueue([unique_job(f"early {number}")], conn=pg)
        await pg.execute(
            "INSERT INTO flowstone_unique_keys SELECT 'k' || i, -i FROM generate_series(1, 50000) i"
        )
        for number in range(3):
            jobs = [unique_job(f"early {number}"), unique_job(f"late {number}")]
            async with pg.transaction():
                assert [it.created for it in await store.enqueue(jobs, conn=pg)] == [False, True]
                assert 0 < await pg.fetchval(READ) < 50


async def test_of_two_that_take_over_a_key_at_once_one_has_it(
    dsn: str, store: PostgresStore, pg: asyncpg.Connection
) -> None:
    await created(store, unique_job(within=MINUTE))
    await pg.execute(EXPIRE)
    # The second has seen that it cannot be inserted, before the first has begun.
    async with connected(dsn) as one, connected(dsn) as other:
        await other.execute("SET search_path TO flowstone")
        async with one.transaction():
            [first] = await store.enqueue([unique_job(within=MINUTE)], conn=one)
            second = asyncio.create_task(
                other.fetch("SELECT * FROM flowstone_take_unique_keys('{k}', '{-1}', true)")
            )
            await eventually(partial(behind_a_lock, pg, "flowstone_take_unique_keys"))
        assert [it["holder"] for it in await second] == [first.job_id]


async def test_a_batch_that_has_found_a_key_held_does_not_ask_for_it_again(
    dsn: str, store: PostgresStore, pg: asyncpg.Connection
) -> None:
    # It would wait for who lets go of that key, and he may wait for one that the batch has taken.
    held = await created(store, unique_job("2"))
    async with connected(dsn) as first, connected(dsn) as one, connected(dsn) as other:
        for connection in (first, one, other):
            await connection.execute("BEGIN")
        await store.enqueue([unique_job("3")], conn=first)
        batch = asyncio.create_task(store.enqueue([unique_job(it) for it in "123"], conn=one))
        await eventually(partial(behind_a_lock, pg, "flowstone_enqueue_jobs_v1"))
        await other.execute("SELECT flowstone.flowstone_cancel_jobs_v1(ARRAY[$1::bigint])", held)
        later = asyncio.create_task(store.enqueue([unique_job("1")], conn=other))
        await eventually(partial(behind_a_lock, pg, "flowstone_enqueue_jobs_v1", count=2))

        await first.execute("ROLLBACK")
        assert [it.created for it in await batch] == [True, False, True]
        await one.execute("COMMIT")
        assert [it.created for it in await later] == [False]


class TestViolations:
    async def test_there_are_none_in_the_life_of_jobs(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await store.enqueue([unique_job("a"), unique_job("b", states=ALL)])
        await store.enqueue([unique_job("c", states=WAITING, within=timedelta(hours=1))])
        worker = await new_worker(store)
        assert await pg.fetch(VIOLATIONS) == []
        a, b, c = await worker.claims()
        assert await pg.fetch(VIOLATIONS) == []
        await worker.settle(succeeded(a), succeeded(b), retried(c))
        assert await pg.fetch(VIOLATIONS) == []
        assert await pg.fetchval(
            "SELECT array_agg(key ORDER BY key) FROM flowstone_unique_keys"
        ) == [
            "b",
            "c",
        ]

    async def test_a_key_of_a_job_that_has_ended_is_one(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        job_id = await created(store, unique_job())
        await _behind_the_triggers(pg, "UPDATE flowstone_materializations SET status = 'failed'")
        [found] = await pg.fetch(VIOLATIONS)
        assert tuple(found) == ("its holder is failed, which the key does not cover", "k", job_id)

    async def test_a_key_of_a_job_that_is_gone_is_one(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        job_id = await created(store, unique_job())
        await _behind_the_triggers(pg, "DELETE FROM flowstone_materializations")
        [found] = await pg.fetch(VIOLATIONS)
        assert tuple(found) == ("its holder is gone", "k", job_id)
        # It keeps nobody out.
        assert await created(store, unique_job()) != job_id

    async def test_a_job_without_its_key_is_one(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        job_id = await created(store, unique_job())
        await pg.execute("DELETE FROM flowstone_unique_keys")
        [found] = await pg.fetch(VIOLATIONS)
        assert tuple(found) == ("it is ready without its key", "k", job_id)

    async def test_a_window_that_has_passed_is_none(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await created(store, unique_job(within=timedelta(minutes=1)))
        await pg.execute(EXPIRE)
        await created(store, unique_job(within=timedelta(minutes=1)))
        assert await pg.fetch(VIOLATIONS) == []


async def test_one_that_is_deleted_or_pruned_leaves_no_key(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    deleted = await created(store, unique_job("a"))
    await store.change_jobs(JobChange.DELETE, JobSelection([deleted]))
    assert await pg.fetchval(KEYS) is None

    await created(store, unique_job("b", states=ALL))
    worker = await new_worker(store)
    await worker.settle(*map(succeeded, await worker.claims()))
    assert await pg.fetchval(KEYS) == ["b"]
    await shift(pg, timedelta(days=8))
    assert (await store.prune(Retention(jobs="7d"))).jobs == 1
    assert await pg.fetchval(KEYS) is None


async def test_one_that_is_superseded_is_no_work_of_strangers(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    await created(store, unique_job(states=WAITING))
    worker = await new_worker(store)
    [claim] = await worker.claims()
    await created(store, unique_job(states=WAITING))
    await worker.settle(retried(claim))
    assert await pg.fetch("SELECT * FROM flowstone_interventions") == []


async def _blocks_of_a_replacement(pg: asyncpg.Connection) -> int:
    for _ in range(2):
        answer = await pg.fetchval(
            "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"
            " SELECT * FROM flowstone_replace_waiting('{k}', '{1}', '{default}', '{0}', '{NULL}',"
            " '{NULL}', '{NULL}')"
        )
    plan = json.loads(answer)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _behind_the_triggers(pg: asyncpg.Connection, statement: str) -> None:
    async with pg.transaction():
        await pg.execute("SET LOCAL session_replication_role = replica")
        await pg.execute(statement)
