"""Who holds what a rescue needs, in a transaction that stays open; the rest is rescued."""

import asyncio
from collections.abc import Sequence

import asyncpg

from flowstone.core.contracts.job_queue import NewJob
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import new_worker
from flowstone.testing.contracts.store_unique_jobs import WAITING, unique_job

LOCK_JOB = "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE"
DIE = "UPDATE flowstone.flowstone_workers SET heartbeat_at = 'epoch'"
DEAD = "SELECT count(*) FROM flowstone.flowstone_workers WHERE heartbeat_at = 'epoch'"


async def lost(store: PostgresStore, pg: asyncpg.Connection, *jobs: NewJob) -> Sequence[int]:
    """Let two workers claim these jobs and die, the first one of one job."""
    ids = await enqueued(store, *jobs)
    for slots in (1, len(jobs)):
        await (await new_worker(store)).claims(slots=slots)
    await pg.execute(DIE)
    return ids


async def rescued(store: PostgresStore) -> list[int]:
    async with asyncio.timeout(10):
        found = await store.rescue(max_rescues=5)
    return sorted(id_ for it in found for id_ in it.materialization_ids)


async def test_a_row_that_is_held_waits_alone(
    store: PostgresStore, pg: asyncpg.Connection, open_transaction: asyncpg.Connection
) -> None:
    first, held, last = await lost(store, pg, new_job(), new_job(), new_job())
    await open_transaction.execute(LOCK_JOB, held)
    assert await rescued(store) == [first, last]
    assert await pg.fetchval(DEAD) > 0

    await open_transaction.execute("ROLLBACK")
    assert await rescued(store) == [held]
    assert await pg.fetchval(DEAD) == 0


async def test_so_does_one_whose_unique_key_somebody_is_about_to_take(
    store: PostgresStore, pg: asyncpg.Connection, open_transaction: asyncpg.Connection
) -> None:
    other, returning = await lost(store, pg, new_job(), unique_job(states=WAITING))
    [twin] = await store.enqueue([unique_job(states=WAITING)], conn=open_transaction)
    assert twin.created
    assert await rescued(store) == [other]

    await open_transaction.execute("COMMIT")
    assert await rescued(store) == [returning]
    [claim] = [it for it in await (await new_worker(store)).claims() if it.id != other]
    assert claim.id == twin.job_id
