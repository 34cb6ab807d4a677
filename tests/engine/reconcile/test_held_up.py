"""What somebody's open transaction holds up waits alone; the rest is mended."""

import asyncio
from datetime import UTC, datetime

import asyncpg
from procrastinate.manager import JobManager

from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import begun
from flowstone.testing.contracts.store_unique_jobs import WAITING, unique_job
from tests.engine.reconcile.meddling import outcomes


async def test_who_comes_back_to_a_key_that_somebody_is_about_to_take_waits_alone(
    store: PostgresStore, jobs: JobManager, open_transaction: asyncpg.Connection
) -> None:
    [returning] = await store.enqueue([unique_job(states=WAITING)])
    _, run, _ = await begun(store)
    await store.enqueue([unique_job(states=WAITING)], conn=open_transaction)
    await jobs.retry_job_by_id_async(returning.job_id, datetime.now(UTC))
    await jobs.cancel_job_by_id_async(run["x"], abort=False)

    async with asyncio.timeout(30):
        assert await outcomes(store) == {run["x"]: "cancelled"}

    await open_transaction.execute("ROLLBACK")
    assert await outcomes(store) == {returning.job_id: "retried"}
