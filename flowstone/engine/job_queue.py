"""The part of the Postgres store that is a job queue; what happens is in ``sql/core``."""

from collections.abc import Mapping, Sequence

from flowstone.core.contracts.job_queue import FailedAttempt, JobQueue, JobRecord, NewJob
from flowstone.core.status import Status
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.store_calls import StoreCalls

ENQUEUE_TYPES = ("text[]", "text[]", "text[]", "integer[]", "timestamptz[]", "bigint[]")


class PostgresJobQueue(StoreCalls, JobQueue):
    """Jobs in the tables of one schema."""

    async def enqueue(self, jobs: Sequence[NewJob], *, conn: object = None) -> Sequence[int]:
        found = await self._fetch(
            "flowstone_enqueue_jobs_v1",
            ENQUEUE_TYPES,
            [it.name for it in jobs],
            [it.arguments for it in jobs],
            [it.queue for it in jobs],
            [it.priority for it in jobs],
            [it.at for it in jobs],
            [milliseconds(it.delay) for it in jobs],
            conn=conn,
            is_bulk=True,
        )
        return [row["id"] for row in found]

    async def jobs(self, job_ids: Sequence[int]) -> Mapping[int, JobRecord]:
        found = await self._fetch("flowstone_jobs_v1", ("bigint[]",), list(job_ids))
        return {row["id"]: _record(row) for row in found}

    async def await_job(self, job_id: int) -> None:
        await self._fetch("flowstone_await_job_v1", ("bigint",), job_id)

    async def cancel_jobs(self, job_ids: Sequence[int]) -> int:
        count: int = await self._value(
            "flowstone_cancel_jobs_v1", ("bigint[]",), list(job_ids), is_bulk=True
        )
        return count

    async def failed_attempts(self, materialization_id: int) -> Sequence[FailedAttempt]:
        found = await self._fetch("flowstone_errors_v1", ("bigint",), materialization_id)
        return [FailedAttempt(row["attempt"], row["failed_at"], row["error"]) for row in found]


def _record(row: Row) -> JobRecord:
    return JobRecord(
        row["id"],
        row["name"],
        Status(row["status"]),
        row["queue"],
        row["priority"],
        row["attempt"],
        row["arguments"],
        row["value"],
        row["error"],
        row["waiting_on"],
        row["not_before"],
        row["enqueued_at"],
        row["started_at"],
        row["finished_at"],
        row["duration_ms"],
    )
