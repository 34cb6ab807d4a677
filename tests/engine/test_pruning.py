"""Pruning among others: deaths, other people's jobs, and tables that must not grow."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from flowstone.core.contracts.store import Pruned
from flowstone.core.errors import DatabaseError
from flowstone.core.retention import Retention
from flowstone.engine.store import PostgresStore
from flowstone.engine.table_sizes import BOUNDS, table_sizes
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_contract_pruning import DAY, POLICY, finish, prune
from flowstone.testing.contracts.store_runs import (
    Worker,
    materialized,
    new_run,
    snoozed,
    succeeded,
)
from tests.engine.table_rows import rows
from tests.engine.test_postgres_store import shift

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


async def test_nothing_is_left_of_what_is_kept_no_longer(
    store: PostgresStore, worker: Worker, pg: asyncpg.Connection
) -> None:
    for _ in range(3):
        await new_run(store, {"a": [], "b": ["a"]})
        await enqueued(store, *[new_job()] * 3)
        await finish(worker)
    await store.hold_lease("once", "somebody", DAY)
    await shift(pg, 100 * DAY)
    await store.unregister_worker(worker.id)

    await prune(store)

    left = {name: count for name, count in (await rows(pg)).items() if count}
    assert left == {
        "alembic_version": 1,
        "flowstone_materializations": 2,
        "flowstone_current": 2,
        "flowstone_values": 2,
        "flowstone_lineage": 1,
        "flowstone_pruning": 10,
    }


class TestDeaths:
    @pytest.mark.parametrize("seed", range(3))
    async def test_a_pruner_that_is_killed_half_way_has_lost_nothing(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection, seed: int
    ) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            await new_run(store, {"a": [], "b": ["a"], "c": ["b"]})
            await enqueued(store)
        await finish(worker)
        await shift(pg, 31 * DAY)
        current = await pg.fetch("TABLE flowstone.flowstone_current")

        async def kill() -> None:
            for _ in range(20):
                await asyncio.sleep(chance.uniform(0, 0.02))
                await pg.execute(
                    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE query LIKE '%flowstone_prune_v1%' AND state = 'active'
                        AND datname = current_database() AND pid <> pg_backend_pid()"""
                )

        killing = asyncio.create_task(kill())
        is_over = False
        while not is_over:
            is_over = killing.done()  # its last blow may be felt only by the next statement
            with suppress(DatabaseError):
                await store.prune(POLICY, limit=5)
        await prune(store)

        assert await pg.fetch("TABLE flowstone.flowstone_current") == current
        left = await rows(pg)
        assert left["flowstone_runs"] == left["procrastinate_jobs"] == 0
        assert left["procrastinate_events"] == left["flowstone_reused"] == 0
        assert left["flowstone_materializations"] == left["flowstone_values"] == 3
        assert left["flowstone_lineage"] == 2


class TestProcrastinate:
    async def test_jobs_of_your_own_tasks_are_yours(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        await pg.execute("SET search_path TO flowstone")
        await pg.execute(
            """INSERT INTO procrastinate_jobs (queue_name, task_name, status)
            SELECT 'mail', 'send', status
            FROM unnest('{todo,succeeded,failed}'::procrastinate_job_status[]) status"""
        )
        await pg.execute("UPDATE procrastinate_events SET at = at - interval '1 year'")
        await materialized(store, worker, "a")
        await shift(pg, 400 * DAY)

        await prune(store)

        left = await rows(pg)
        assert (left["procrastinate_jobs"], left["procrastinate_events"]) == (3, 1)

    async def test_events_of_a_job_that_never_ends_do_not_pile_up(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        for _ in range(50):
            (claim,) = await worker.claims()
            await worker.settle(snoozed(claim, timedelta(0)))
            await pg.execute(
                """UPDATE flowstone.procrastinate_events SET at = at - interval '1 day'"""
            )
        before = (await rows(pg))["procrastinate_events"]

        for limit in (7, 1000):
            await prune(store, limit=limit)

        left = (await rows(pg))["procrastinate_events"]
        assert before >= 100
        assert 58 <= left <= 62
        (claim,) = await worker.claims()
        await worker.settle(succeeded(claim))
        assert (await store.run(run.id)).status == "succeeded"


async def test_what_a_plugin_attached_goes_with_its_materialization(
    store: PostgresStore, worker: Worker, pg: asyncpg.Connection
) -> None:
    await pg.execute("SET search_path TO flowstone")
    await pg.execute("CREATE TABLE votes (materialization_id bigint PRIMARY KEY)")
    await pg.execute("SELECT flowstone_attach_v1('votes')")
    run = await new_run(store, {"old": [], "a": []})
    await finish(worker)
    await shift(pg, 31 * DAY)
    later = await new_run(store, {"old": []})
    await finish(worker)
    await shift(pg, 2 * DAY)
    await pg.execute("INSERT INTO votes SELECT id FROM flowstone_materializations")

    await prune(store)

    left = {it["materialization_id"] for it in await pg.fetch("SELECT * FROM votes")}
    assert left == {run["a"], later["old"]}


class TestBounds:
    def test_every_table_has_a_policy_or_a_reason_why_it_is_bounded(self, dsn: str) -> None:
        assert {it.table for it in table_sizes(dsn)} == set(BOUNDS)

    @pytest.mark.parametrize("table", BOUNDS)
    def test_the_page_about_operating_names_it(self, table: str) -> None:
        assert f"| `{table}` | {BOUNDS[table]} |" in OPERATING.read_text(encoding="utf-8")

    async def test_sizes_are_those_of_the_tables(
        self, store: PostgresStore, worker: Worker, pg: asyncpg.Connection, dsn: str
    ) -> None:
        await materialized(store, worker, "a")

        found = {it.table: it for it in await asyncio.to_thread(table_sizes, dsn)}

        assert {name: it.row_count for name, it in found.items()} == await rows(pg)
        runs = found["flowstone_runs"]
        assert not runs.is_estimate
        assert 0 < runs.index_bytes < runs.total_bytes


async def test_a_policy_that_keeps_everything_deletes_nothing(
    store: PostgresStore, worker: Worker, pg: asyncpg.Connection
) -> None:
    await materialized(store, worker, "a")
    await materialized(store, worker, "a")
    await shift(pg, 1000 * DAY)
    before = await rows(pg)

    policy = Retention(None, failed=None, values=None, jobs=None, failed_jobs=None)
    assert await prune(store, policy) == Pruned()

    assert await rows(pg) == before
