"""The part of the memory store that is a job queue."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import assert_never

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
from flowstone.core.contracts.store import Key
from flowstone.core.defaults import memory_activity
from flowstone.core.defaults.clock import Clock
from flowstone.core.defaults.memory_job_machine import JobMachine
from flowstone.core.defaults.memory_job_selection import selected
from flowstone.core.defaults.memory_rows import Row, RunRow, WorkerRow
from flowstone.core.errors import InvalidOptionError, JobExistsError
from flowstone.core.status import Status
from flowstone.core.unique_key import OnConflict


class MemoryJobQueue(JobQueue):
    """Jobs on the machine that also runs materializations."""

    _machine: JobMachine
    _clock: Clock
    _workers: dict[int, WorkerRow]
    _last_id: int
    _keep: int

    async def enqueue(self, jobs: Sequence[NewJob], *, conn: object = None) -> Sequence[Enqueued]:
        refuse_connection(conn)
        now = self._clock.now()
        self._drop_surplus()
        for job in jobs:
            holder = self._holder(job, now)
            if holder is not None and job.unique and job.unique.on_conflict is OnConflict.RAISE:
                raise JobExistsError(holder.id, job.name)
        enqueued = [self._enqueue(job, now) for job in jobs]
        self._publish()
        return enqueued

    def _enqueue(self, job: NewJob, now: datetime) -> Enqueued:
        holder = self._holder(job, now)
        if holder is None or job.unique is None:
            self._last_id += 1
            self._machine.add_job(_row(self._last_id, job, now), _due(job, now))
            return Enqueued(self._last_id)
        replaces = job.unique.on_conflict is OnConflict.REPLACE and holder.status is Status.READY
        if replaces:
            self._machine.replace(holder, job, _due(job, now))
        return Enqueued(holder.id, created=False, replaced=replaces)

    def _holder(self, job: NewJob, now: datetime) -> Row | None:
        if job.unique is None:
            return None
        return self._machine.unique.holder(job.unique.key, now)

    async def jobs(self, job_ids: Sequence[int]) -> Mapping[int, JobRecord]:
        now = self._clock.now()
        rows = (self._machine.rows.get(id_) for id_ in sorted(set(job_ids)))
        return {row.id: row.job_record(now) for row in rows if row is not None and row.is_job}

    async def await_job(self, job_id: int) -> None:
        """Every end is published here."""

    async def cancel_jobs(self, job_ids: Sequence[int]) -> int:
        rows = (self._machine.rows.get(id_) for id_ in sorted(set(job_ids)))
        runs = [row.run for row in rows if row is not None and row.is_job]
        was_open = sum(self._machine.cancel(run, self._clock.now()) for run in runs)
        self._publish()
        return was_open

    async def failed_attempts(self, materialization_id: int) -> Sequence[FailedAttempt]:
        row = self._machine.rows.get(materialization_id)
        return () if row is None else tuple(row.failed_attempts)

    async def find_jobs(
        self,
        selection: JobSelection,
        *,
        limit: int = 100,
        before: int | None = None,
        conn: object = None,
    ) -> JobPage:
        refuse_connection(conn)
        now = self._clock.now()
        found = list(islice(selected(self._machine.rows, selection, before, now), limit))
        return JobPage([row.job_record(now) for row in found], _next(found, limit))

    async def change_jobs(
        self,
        change: JobChange,
        selection: JobSelection,
        *,
        limit: int = 1000,
        before: int | None = None,
        dry_run: bool = False,
    ) -> JobBatch:
        now = self._clock.now()
        meant = replace(selection, statuses=change.among(selection.statuses))
        found = list(islice(selected(self._machine.rows, meant, before, now), limit))
        count = sum(self._change(row, change, now, dry_run=dry_run) for row in found)
        self._publish()
        return JobBatch(count, _next(found, limit))

    async def activity(self, *, most: int = 20) -> Activity:
        rows, workers = self._machine.rows.values(), list(self._workers.values())
        said = self._machine.heads.admission.settings
        paused = {queue for queue, it in said.items() if it.paused_at is not None}
        return memory_activity.activity(rows, workers, paused, self._clock.now(), most)

    def _change(self, row: Row, change: JobChange, now: datetime, *, dry_run: bool) -> bool:
        machine = self._machine
        match change:
            case JobChange.RETRY:
                return machine.can_retry(row, now) if dry_run else machine.retry(row, now)
            case JobChange.CANCEL:
                return dry_run or bool(machine.cancel(row.run, now))
            case JobChange.DELETE:
                if not dry_run:
                    machine.forget(row)
                return True
            case _:
                assert_never(change)

    def _drop_surplus(self) -> None:
        """Keep memory bounded: of the jobs that have ended the newest stay, and a quarter more."""
        ended = self._machine.ended_jobs
        if len(ended) > 1.25 * self._keep:
            for id_ in list(islice(ended, len(ended) - self._keep)):
                self._machine.forget(ended[id_])

    def _publish(self) -> None:
        raise NotImplementedError


def refuse_connection(conn: object) -> None:
    """Say that there are no transactions in memory."""
    if conn is not None:
        raise InvalidOptionError(
            "conn: an application without a database has no transactions to take part in; "
            "give it a dsn, or leave conn out"
        )


def _next(found: Sequence[Row], limit: int) -> int | None:
    return found[-1].id if len(found) == limit else None


def _due(job: NewJob, now: datetime) -> datetime | None:
    delayed = None if job.delay is None else now + job.delay
    return max((it for it in (job.at, delayed) if it is not None), default=None)


def _row(id_: int, job: NewJob, now: datetime) -> Row:
    # A run of its own that nobody sees: what counts and ends a run also ends the job.
    run = RunRow(id=0, targets=(), options=None, reused=(), retry_of=None, created_at=now)
    return Row(
        id=id_,
        run=run,
        key=Key(job.name, ""),
        queue=job.queue,
        priority=job.priority,
        reason="enqueued",
        status=Status.READY,
        unmet=0,
        inputs=[],
        follows=[],
        dependents=(),
        optional_dependents=(),
        arguments=job.arguments,
        unique=job.unique,
        limit_key=job.limit_key,
        lane=job.lane,
    )
