"""The part of the Postgres store that is a job queue; what happens is in ``sql/core``."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from flowstone.core.contracts.activity import LATELY, MOST_COUNTED
from flowstone.core.contracts.job_queue import (
    Activity,
    Enqueued,
    FailedAttempt,
    JobBatch,
    JobChange,
    JobPage,
    JobQueue,
    JobRecord,
    JobSelection,
    NewJob,
)
from flowstone.core.errors import JobExistsError
from flowstone.core.status import Status
from flowstone.core.unique_key import JobState, UniqueKey
from flowstone.engine.activity import activity_from
from flowstone.engine.rows import Row, column, milliseconds
from flowstone.engine.store_calls import StoreCalls

ENQUEUE_TYPES = (
    "text[]", "text[]", "text[]", "integer[]", "timestamptz[]", "bigint[]",
    "text[]", "smallint[]", "bigint[]", "text[]", "text[]", "text[]",
)  # fmt: skip

STATE_BITS = {state: 1 << place for place, state in enumerate(JobState)}
"""What ``unique_states`` adds up."""
SELECTION_TYPES = ("bigint[]", "text", "text", "text[]", "bigint", "bigint")


class PostgresJobQueue(StoreCalls, JobQueue):
    """Jobs in the tables of one schema."""

    async def enqueue(self, jobs: Sequence[NewJob], *, conn: object = None) -> Sequence[Enqueued]:
        found = await self.call(
            "flowstone_enqueue_jobs_v1",
            ENQUEUE_TYPES,
            column([it.name for it in jobs]),
            [it.arguments for it in jobs],
            column([it.queue for it in jobs]),
            column([it.priority for it in jobs]),
            [it.at for it in jobs] if any(it.at for it in jobs) else None,
            [milliseconds(it.delay) for it in jobs] if any(it.delay for it in jobs) else None,
            *unique_arrays([it.unique for it in jobs]),
            [it.limit_key for it in jobs] if any(it.limit_key for it in jobs) else None,
            [it.lane for it in jobs] if any(it.lane for it in jobs) else None,
            conn=conn,
            is_bulk=True,
        )
        for job, row in zip(jobs, found, strict=True):
            if row["outcome"] == "conflict":
                raise JobExistsError(row["id"], job.name)
        return [
            Enqueued(row["id"], row["outcome"] == "created", row["outcome"] == "replaced")
            for row in found
        ]

    async def jobs(self, job_ids: Sequence[int]) -> Mapping[int, JobRecord]:
        found = await self.call("flowstone_jobs_v1", ("bigint[]",), list(job_ids))
        return {row["id"]: _record(row) for row in found}

    async def await_job(self, job_id: int) -> None:
        await self.call("flowstone_await_job_v1", ("bigint",), job_id)

    async def cancel_jobs(self, job_ids: Sequence[int]) -> int:
        count: int = await self.call_value(
            "flowstone_cancel_jobs_v1", ("bigint[]",), list(job_ids), is_bulk=True
        )
        return count

    async def failed_attempts(self, materialization_id: int) -> Sequence[FailedAttempt]:
        found = await self.call("flowstone_errors_v1", ("bigint",), materialization_id)
        return [FailedAttempt(row["attempt"], row["failed_at"], row["error"]) for row in found]

    async def find_jobs(
        self,
        selection: JobSelection,
        *,
        limit: int = 100,
        before: int | None = None,
        conn: object = None,
    ) -> JobPage:
        types = (*SELECTION_TYPES, "bigint", "integer")
        given = _arguments(selection, selection.statuses)
        found = await self.call("flowstone_find_jobs_v1", types, *given, before, limit, conn=conn)
        records = [_record(row) for row in found if row["id"] is not None]
        return JobPage(records, found[0]["next_before"])

    async def change_jobs(
        self,
        change: JobChange,
        selection: JobSelection,
        *,
        limit: int = 1000,
        before: int | None = None,
        dry_run: bool = False,
    ) -> JobBatch:
        statuses = change.among(selection.statuses)
        if not statuses:
            return JobBatch(0, None)
        [row] = await self.call(
            "flowstone_change_jobs_v1",
            ("text", *SELECTION_TYPES, "bigint", "integer", "boolean"),
            change.value,
            *_arguments(selection, statuses),
            before,
            limit,
            dry_run,
            is_bulk=True,
        )
        return JobBatch(row["changed_count"], row["next_before"])

    async def activity(self, *, most: int = 20) -> Activity:
        [row] = await self.call(
            "flowstone_activity_v1",
            ("integer", "integer", "bigint"),
            most,
            MOST_COUNTED,
            milliseconds(LATELY),
        )
        return activity_from(row)


def _arguments(selection: JobSelection, statuses: Collection[Status] | None) -> tuple[object, ...]:
    return (
        None if selection.ids is None else list(selection.ids),
        selection.name,
        selection.queue,
        None if statuses is None else [it.value for it in statuses],
        milliseconds(selection.older_than),
        milliseconds(selection.newer_than),
    )


def unique_arrays(uniques: Sequence[UniqueKey | None]) -> tuple[Sequence[object] | None, ...]:
    """Return what makes jobs unique, as arrays; None for each when none is."""
    if not any(uniques):
        return (None,) * 4
    return (
        [it and it.key for it in uniques],
        column([it and _bits_of(it.states) for it in uniques]),
        [it and milliseconds(it.within) for it in uniques]
        if any(it and it.within for it in uniques)
        else None,
        column([it and it.on_conflict.value for it in uniques]),
    )


@lru_cache
def _bits_of(states: frozenset[JobState]) -> int:
    return sum(STATE_BITS[state] for state in states)


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
        row["schedule"],
        row["tick_at"],
    )
