"""What others do to our jobs, and what becomes of it."""

from procrastinate.jobs import Job
from procrastinate.jobs import Status as JobStatus
from procrastinate.manager import JobManager

from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    Worker,
    succeeded,
)


async def outcomes(store: PostgresStore) -> dict[int, str]:
    return {it.materialization_id: it.outcome for it in await store.reconcile()}


async def finish(jobs: JobManager, id_: int, status: JobStatus, *, delete: bool = False) -> None:
    job = Job(id=id_, queue="", lock=None, queueing_lock=None, task_name="")
    await jobs.finish_job(job, status, delete_job=delete)


async def finishes_all(worker: Worker) -> None:
    """Claim and complete until nothing is left."""
    while claims := await worker.claims():
        assert await worker.settle(*map(succeeded, claims)) == []
