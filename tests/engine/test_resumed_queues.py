"""A queue that is resumed while a turn is under way: its limits count for that turn, too."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone.core.contracts.store import Capacity
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import new_worker, succeeded
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    yield store
    await store.close()


async def test_a_turn_that_has_begun_before_exceeds_no_limit(
    store: PostgresStore, dsn: str, pg: asyncpg.Connection
) -> None:
    await store.limit_queue("narrow", max_running=1)
    await store.pause_queue("narrow")
    await enqueued(store, *[new_job(queue="narrow")] * 5)
    [held] = await enqueued(store)
    worker = await new_worker(store)
    [claim] = await worker.claims()

    async with connected(dsn) as locker:
        lock = locker.transaction()
        await lock.start()
        await locker.execute(
            "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE", held
        )
        turn = asyncio.create_task(
            store.turn(worker.id, [succeeded(claim)], Capacity({"narrow": 5}))
        )
        await eventually(lambda: behind_a_lock(pg, "flowstone_turn_v1"))
        resuming = asyncio.create_task(store.resume_queue("narrow"))

        async def is_resumed_or_waits() -> bool:
            return resuming.done() or await behind_a_lock(pg, "flowstone_pause_queue_v1")

        await eventually(is_resumed_or_waits)
        await lock.rollback()

    assert len((await turn).claims) <= 1
    await resuming
    later = await store.turn(worker.id, [], Capacity({"narrow": 5}))
    assert len([*(await turn).claims, *later.claims]) == 1
