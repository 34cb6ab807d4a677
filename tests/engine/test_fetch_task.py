"""Fetching procrastinate's jobs through us is what its own function does, for all jobs but ours."""

import random
from collections.abc import Sequence

import asyncpg
import procrastinate
import pytest

from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import new_run, new_worker

ROWS_READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
"""
LANES_READ = "SELECT pg_stat_get_xact_numscans('flowstone_tasks_by_lock'::regclass)"


@pytest.fixture(autouse=True)
async def pg_in_schema(pg: asyncpg.Connection) -> None:
    await pg.execute("SET search_path TO flowstone")


async def story(pg: asyncpg.Connection, fetch: str, seed: int, *, ours: bool) -> Sequence[object]:
    """Put random jobs in, fetch and end them at random; return who was fetched, and when."""
    chance = random.Random(seed)
    await pg.execute("TRUNCATE procrastinate_jobs RESTART IDENTITY CASCADE")
    if ours:  # with higher priority, so that they would be first
        await pg.execute(
            "INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority) "
            "SELECT 1000 + i, 'a', 'flowstone:materialize', 100 FROM generate_series(1, 5) i"
        )
    fetched: list[object] = []
    running: list[int] = []
    for _ in range(60):
        match chance.choice(["defer", "fetch", "fetch", "end", "retry"]):
            case "defer":
                await pg.execute(
                    "INSERT INTO procrastinate_jobs "
                    "(queue_name, task_name, priority, lock, scheduled_at) "
                    "VALUES ($1, 't', $2, $3, now() + $4 * interval '1 hour')",
                    chance.choice("ab"),
                    chance.choice([-1, 0, 0, 3]),
                    chance.choice([None, None, "x", "y"]),
                    chance.choice([None, None, -1, 1]),
                )
            case "fetch":
                queues = chance.choice([None, ["a"], ["b"], ["a", "b"], ["none"]])
                found = await pg.fetchval(f"SELECT id FROM {fetch}($1, NULL)", queues)
                fetched.append(found)
                if found is not None:
                    running.append(found)
            case "end" if running:
                id_ = running.pop(chance.randrange(len(running)))
                await pg.execute("SELECT procrastinate_finish_job_v1($1, 'succeeded', false)", id_)
            case "retry" if running:
                id_ = running.pop(chance.randrange(len(running)))
                await pg.execute(
                    "SELECT procrastinate_retry_job_v2($1, now(), $2, NULL, NULL)",
                    id_,
                    chance.choice([None, 5]),
                )
    rows = await pg.fetch(
        "SELECT id, status::text, attempts FROM procrastinate_jobs WHERE id <= 1000 ORDER BY id"
    )
    return [*fetched, *map(tuple, rows)]


@pytest.mark.parametrize("seed", range(25))
async def test_the_order_the_locks_and_the_times_are_procrastinates(
    pg: asyncpg.Connection, seed: int
) -> None:
    theirs = await story(pg, "procrastinate_fetch_job_v2", seed, ours=False)
    through_us = await story(pg, "flowstone_fetch_task_v1", seed, ours=True)

    assert through_us == theirs
    assert any(isinstance(it, int) for it in theirs)


@pytest.mark.parametrize("lock", [None, "lane"])
async def test_it_reads_none_of_ours_however_many_wait(
    pg: asyncpg.Connection, lock: str | None
) -> None:
    await pg.execute(
        """
        INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority)
        SELECT 1000 + i, 'a', 'flowstone:materialize', 5 FROM generate_series(1, 20000) i
        """
    )
    await pg.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock) VALUES ('a', 't', $1)", lock
    )
    async with pg.transaction():
        before, lanes = await pg.fetchval(ROWS_READ), await pg.fetchval(LANES_READ)
        assert await pg.fetchval("SELECT id FROM flowstone_fetch_task_v1(NULL, NULL)") == 1

        assert await pg.fetchval(ROWS_READ) - before < 20
        assert await pg.fetchval(LANES_READ) - lanes == (0 if lock is None else 1)


async def test_a_worker_on_our_connector_may_serve_every_queue(
    dsn: str, pg: asyncpg.Connection
) -> None:
    store = PostgresStore(dsn)
    await store.open()
    app = procrastinate.App(connector=AsyncpgConnector(dsn))
    done: list[int] = []

    @app.task(name="theirs", queue="default")
    async def theirs(number: int) -> None:
        done.append(number)

    try:
        run = await new_run(store, {"a": []})
        async with app.open_async():
            await theirs.defer_async(number=1)
            await app.run_worker_async(wait=False, install_signal_handlers=False)

        assert done == [1]
        assert await pg.fetchval("SELECT count(*) FROM flowstone_interventions") == 0
        (claim,) = await (await new_worker(store)).claims()
        assert claim.id == run["a"]
    finally:
        await store.close()
