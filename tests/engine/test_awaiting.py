"""Awaited upstreams on Postgres: what others do to their jobs, and rows that somebody holds."""

import asyncpg
import pytest

from flowstone.core.status import Status
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_awaiting import until, waiting
from flowstone.testing.contracts.store_runs import statuses


async def test_a_job_that_somebody_deletes_is_told_to_the_one_that_waits(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    worker, run, claims = await waiting(store, "c")
    await pg.execute("SET search_path TO flowstone")
    await pg.execute("DELETE FROM procrastinate_jobs WHERE id = $1", run["c"])

    await store.reconcile()

    assert claims["c"].id == run["c"]
    assert (await statuses(store, run))["c"] is Status.CANCELLED
    assert list(await worker.claim()) == ["p"]


@pytest.mark.parametrize("table", ["procrastinate_jobs", "flowstone_materializations"])
async def test_one_whose_waiter_is_locked_cannot_be_settled_now(
    store: PostgresStore, pg: asyncpg.Connection, table: str
) -> None:
    _, run, _ = await waiting(store, "c")
    held = pg.transaction()
    await held.start()
    await pg.execute(f"SELECT FROM flowstone.{table} WHERE id = $1 FOR UPDATE", run["p"])

    locked = await store.locked([run["c"], run["a"]])
    await held.rollback()

    assert list(locked) == [run["c"]]
    assert await store.locked([run["c"], run["a"]]) == []


async def test_a_plan_without_awaited_edges_writes_none_of_it(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    _, run, _ = await waiting(store)

    rows = await pg.fetch(
        "SELECT awaits, awaited_by, starts FROM flowstone.flowstone_materializations WHERE id = $1",
        run["z"],
    )

    assert [tuple(row) for row in rows] == [(None, None, None)]
    assert until(run, "b").any_lost == ()
