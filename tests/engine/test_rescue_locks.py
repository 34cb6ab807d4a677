"""Who holds what others need to mend, in a transaction that stays open; the rest is mended."""

import asyncio
from collections.abc import Sequence

import asyncpg

from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.status import Status
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued, job, new_job
from flowstone.testing.contracts.store_runs import Worker, new_worker
from flowstone.testing.contracts.store_unique_jobs import WAITING, unique_job

SOON_SECONDS = 30
"""A call that waits for the end of a transaction has no answer by then."""

LOCK_JOBS = "SELECT FROM flowstone.procrastinate_jobs WHERE id = ANY ($1::bigint[]) FOR UPDATE"
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
    async with asyncio.timeout(SOON_SECONDS):
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


async def test_hundreds_that_are_held_hold_up_none_of_the_others(
    store: PostgresStore, pg: asyncpg.Connection, open_transaction: asyncpg.Connection
) -> None:
    ids = await lost(store, pg, *[new_job()] * 240)
    held, free = ids[:200], ids[200:]
    await open_transaction.execute(LOCK_JOBS, held)
    assert await rescued(store) == free


class TestAGoodbye:
    async def leaves(self, store: PostgresStore, worker: Worker) -> None:
        async with asyncio.timeout(SOON_SECONDS):
            await store.unregister_worker(worker.id)

    async def test_gives_back_what_nobody_holds_and_the_rest_with_the_next_rescue(
        self,
        store: PostgresStore,
        pg: asyncpg.Connection,
        open_transaction: asyncpg.Connection,
    ) -> None:
        free, locked, returning = await enqueued(
            store, new_job(), new_job(), unique_job(states=WAITING)
        )
        worker = await new_worker(store)
        await worker.claims()
        await open_transaction.execute(LOCK_JOB, locked)
        await store.enqueue([unique_job(states=WAITING)], conn=open_transaction)

        await self.leaves(store, worker)
        assert (await job(store, free)).status is Status.READY

        await open_transaction.execute("ROLLBACK")
        assert await rescued(store) == [locked, returning]
        # It has not died: nothing is held against what it had.
        assert {it.rescues for it in await (await new_worker(store)).claims()} == {0}
        assert await pg.fetchval("SELECT count(*) FROM flowstone.flowstone_workers") == 1


async def test_a_heartbeat_does_not_wait_for_who_prunes_procrastinates_workers(
    store: PostgresStore, open_transaction: asyncpg.Connection
) -> None:
    worker = await new_worker(store)
    await open_transaction.execute("DELETE FROM flowstone.procrastinate_workers")
    async with asyncio.timeout(SOON_SECONDS):
        assert await worker.beat()

    await open_transaction.execute("COMMIT")
    assert await worker.beat()
    assert await open_transaction.fetchval("SELECT count(*) FROM flowstone.procrastinate_workers")
