"""Which settlements somebody's lock would hold up, told without waiting for any lock."""

from collections.abc import Sequence

import asyncpg
import pytest

from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import SmallRun, new_run, new_worker, succeeded
from tests.scenarios.locks import connected

# Each is what a settlement of a changes: its job, its own row, a dependent, its run, the pointer.
LOCKS = {
    "job": "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE",
    "materialization": "SELECT FROM flowstone.flowstone_materializations WHERE id = $1 FOR UPDATE",
    "dependent": "SELECT FROM flowstone.flowstone_materializations m"
    " WHERE id = ANY (SELECT unnest(dependents) FROM flowstone.flowstone_materializations"
    " WHERE id = $1) FOR UPDATE",
    "run": "SELECT FROM flowstone.flowstone_runs"
    " WHERE id = (SELECT run_id FROM flowstone.flowstone_materializations WHERE id = $1)"
    " FOR UPDATE",
    "current": "SELECT FROM flowstone.flowstone_current c JOIN"
    " flowstone.flowstone_materializations m USING (asset, partition)"
    " WHERE m.id = $1 FOR UPDATE OF c",
}


async def two_runs(store: PostgresStore) -> Sequence[SmallRun]:
    """Both have a, which was computed before, and b, which needs it; both a are running."""
    worker = await new_worker(store)
    for partition in "xy":
        earlier = await new_run(store, {"a": []}, partition=partition)
        claims = await worker.claim(run=earlier)
        await worker.settle(succeeded(claims["a"]))
    runs = [await new_run(store, {"a": [], "b": ["a"]}, partition=name) for name in "xy"]
    for run in runs:
        await worker.claim(run=run)
    return runs


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS.keys())
async def test_only_what_the_lock_holds_up_is_named(
    store: PostgresStore, dsn: str, lock: str
) -> None:
    one, other = await two_runs(store)

    async with connected(dsn) as holder, holder.transaction():
        await holder.execute(lock, one["a"])

        assert await store.locked([one["a"], other["a"]]) == [one["a"]]

    assert await store.locked([one["a"], other["a"]]) == []


async def test_what_is_only_read_holds_up_nobody(store: PostgresStore, dsn: str) -> None:
    one, _ = await two_runs(store)

    async with connected(dsn) as reader, reader.transaction():
        await reader.execute(LOCKS["job"].replace("FOR UPDATE", "FOR KEY SHARE"), one["a"])

        assert await store.locked([one["a"]]) == []


async def test_what_is_not_there_is_not_held(store: PostgresStore, pg: asyncpg.Connection) -> None:
    one, _ = await two_runs(store)
    await pg.execute("SET search_path TO flowstone")
    await pg.execute("DELETE FROM flowstone.procrastinate_jobs WHERE id = $1", one["a"])

    assert await store.locked([one["a"], 10**9]) == []
