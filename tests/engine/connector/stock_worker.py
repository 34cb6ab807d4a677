"""A stock worker, and what its jobs have come to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import procrastinate
from procrastinate.jobs import Status


async def worker(app: procrastinate.App, **options: Any) -> None:
    await app.run_worker_async(install_signal_handlers=False, **options)


@asynccontextmanager
async def running(app: procrastinate.App, **options: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(worker(app, **options))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def status_of(app: procrastinate.App, job_id: int) -> Status:
    return await app.job_manager.get_job_status_async(job_id)


async def has_status(app: procrastinate.App, job_id: int, status: Status) -> bool:
    return await status_of(app, job_id) is status


async def is_listening(app: procrastinate.App) -> bool:
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) > 0 AS found FROM pg_stat_activity "
        "WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
    )
    return bool(row["found"])
