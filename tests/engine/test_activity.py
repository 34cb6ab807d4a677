"""What is going on, told from a Postgres that holds much."""

import json
from datetime import timedelta

import asyncpg
import pytest

from flowstone.core.contracts.activity import MOST_COUNTED
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import new_worker, succeeded

# Two of three are no end; those before the last ten seconds are many.
EVENTS = """
INSERT INTO procrastinate_events (job_id, type, at)
SELECT
    $1::bigint,
    (ARRAY['deferred', 'started', 'succeeded'])[1 + n % 3]::procrastinate_job_event_type,
    now() + $2::interval * (n::float / $3::integer) - $2::interval
FROM generate_series(1, $3::integer) AS n
"""
ENDED = """
SELECT count(*) FROM procrastinate_events
WHERE type = 'succeeded' AND at > $1::timestamptz - interval '10 s'
"""
BACKLOG = """
WITH ready AS (
    SELECT nextval('procrastinate_jobs_id_seq') AS id FROM generate_series(1, $1::integer)
),
job AS (
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, args, scheduled_at)
    SELECT
        id, (ARRAY['one', 'two'])[1 + id % 2], $2, jsonb_build_object('key', 'a', 'lane', id::text),
        CASE WHEN id % 4 < 2 THEN now() + interval '1 day' END
    FROM ready
),
failed AS (
    INSERT INTO flowstone_errors (materialization_id, claim, attempt, failed_at, error)
    SELECT id, 0, 1, now(), '{}' FROM ready
)
INSERT INTO flowstone_materializations
    (id, asset, queue, priority, status, unmet, enqueued_at, arguments, reason)
SELECT id, 'test.old', 'one', 0, 'ready', 0, now(), '{}', 'enqueued' FROM ready
"""


@pytest.fixture(autouse=True)
async def pg_in_schema(pg: asyncpg.Connection) -> None:
    await pg.execute("SET search_path TO flowstone")


class TestPerSecond:
    @pytest.mark.parametrize("count", [300, 30_000])
    async def test_it_is_right_however_much_is_done(
        self, store: PostgresStore, pg: asyncpg.Connection, count: int
    ) -> None:
        await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(succeeded(claim))
        await pg.execute("UPDATE procrastinate_events SET at = now() - interval '1 day'")
        for seconds in (86_400, 10):
            await pg.execute(EVENTS, claim.id, timedelta(seconds=seconds), count)
            if seconds > 10:
                await pg.execute("UPDATE procrastinate_events SET at = at - interval '10 s'")

        seen = await store.activity()
        # Some of them are older than ten seconds by now: who writes so many takes a while.
        ended = await pg.fetchval(ENDED, seen.seen_at)
        [queue] = seen.queues
        assert ended > 0
        # A sample of 2,000 is wrong by a thirtieth at times, and never by a quarter.
        assert queue.per_second == pytest.approx(ended / 10, rel=0.25)

    async def test_what_is_not_ours_is_not_counted(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await pg.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('theirs', 'a');"
            "UPDATE procrastinate_jobs SET status = 'doing';"
            "UPDATE procrastinate_jobs SET status = 'succeeded';"
            "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('theirs', 'a')"
        )
        assert (await store.activity()).queues == []

    async def test_ids_that_are_gone_do_not_thin_the_sample(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await pg.execute("SELECT setval('procrastinate_events_id_seq', 1000000)")
        await enqueued(store)
        worker = await new_worker(store)
        await worker.settle(*map(succeeded, await worker.claims()))

        [queue] = (await store.activity()).queues
        assert queue.per_second == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("task", ["flowstone:materialize", "flowstone:keyed"])
class TestWhatItReads:
    async def test_a_backlog_is_counted_up_to_a_limit(
        self, store: PostgresStore, pg: asyncpg.Connection, task: str
    ) -> None:
        await pg.execute(BACKLOG, 4 * MOST_COUNTED + 400, task)
        await enqueued(store, new_job(queue="three"))

        queues = {it.name: (it.due, it.later) for it in (await store.activity()).queues}
        assert queues == {
            "one": (MOST_COUNTED, MOST_COUNTED),
            "two": (MOST_COUNTED, MOST_COUNTED),
            "three": (1, 0),
        }

    async def test_it_reads_no_more_for_a_longer_backlog(
        self, pg: asyncpg.Connection, task: str
    ) -> None:
        read = []
        for count in (1_000, 30_000):
            await pg.execute(BACKLOG, count, task)
            await pg.execute("UPDATE procrastinate_events SET at = now() - interval '1 hour'")
            await pg.execute("VACUUM procrastinate_events")
            read.append(await _blocks(pg, "flowstone_activity_v1(10, 100, 10000)"))

        assert read[1] <= read[0] * 1.3 + 100


async def _blocks(pg: asyncpg.Connection, call: str) -> int:
    """Return how many blocks a call touches, the second time."""
    for _ in range(2):
        answer = await pg.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT * FROM {call}"
        )
    plan = json.loads(answer)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
