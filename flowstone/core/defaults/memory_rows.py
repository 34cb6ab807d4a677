"""The rows of the memory store: what Postgres keeps in tables, as plain objects."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flowstone.core.contracts.job_queue import FailedAttempt, JobRecord
from flowstone.core.contracts.store import (
    Current,
    JsonText,
    Key,
    MaterializationRecord,
    Reused,
    RunRecord,
    StoredInput,
    Wait,
    WorkerInfo,
)
from flowstone.core.defaults.memory_jobs import Jobs
from flowstone.core.json_value import JsonValue
from flowstone.core.outcome import Wake
from flowstone.core.status import RunStatus, Status
from flowstone.core.unique_key import UniqueKey

INLINE_CHARACTERS = 16 * 1024
"""Longer values do not travel with a claim, so that who loads inputs has to know both ways."""


@dataclass(slots=True, eq=False)
class RunRow:
    """
    A run.

    Attributes:
        open_count: How many of its materializations are not terminal.
        jobs: What a worker of this run alone can claim; None until one asked.
        moves: How many steps its materializations have taken.
        tolerated: Of the counts, what does not decide how the run ends.
        is_cancel_asked: Whether somebody has cancelled it.
    """

    id: int
    targets: Sequence[Key]
    options: JsonText | None
    reused: Sequence[Reused]
    retry_of: int | None
    created_at: datetime
    dedupe: str | None = None
    status: RunStatus = RunStatus.RUNNING
    finished_at: datetime | None = None
    rows: list["Row"] = field(default_factory=list)
    counts: Counter[Status] = field(default_factory=Counter)
    open_count: int = 0
    jobs: "Jobs[Row] | None" = None
    moves: int = 0
    tolerated: Counter[Status] = field(default_factory=Counter)
    is_cancel_asked: bool = False

    @property
    def shown(self) -> "Iterator[Row]":
        """Its materializations as anybody is shown them: without those that assist."""
        return (row for row in self.rows if row.assists is None)

    def record(self) -> RunRecord:
        """Return the run as its reader sees it."""
        return RunRecord(
            run_id=self.id,
            status=self.status,
            targets=self.targets,
            options=self.options,
            created_at=self.created_at,
            finished_at=self.finished_at,
            counts={status: count for status, count in self.counts.items() if count},
            reused_count=len(self.reused),
            retry_of=self.retry_of,
        )


@dataclass(slots=True, eq=False)
class Row:
    """
    A materialization together with its job and its value.

    Attributes:
        awaits, awaited_by, is_tolerated: See `PlannedStep`.
        starts: The same; empty once it has begun.
        claim: How often the job has left a worker.
        due: When the queued job can be claimed, None for at once; only while it is queued.
        ticket: Grows whenever the job is queued or leaves its queue: entries of the queues that
            carry an older one are void.
        moved: The number, within its run, of the last step that it took.
        rescues: How many losses of its worker were held against it.
        is_abort_asked: Whether its worker was asked to stop it.
        wait: The latest wait; kept until the next one, or the end.
        wake: What ended that wait.
        is_wake_delivered: Whether an attempt was claimed with ``wake``.
        early_wake: A payload that came while there was no wait to end: it ends the next one.
        superseded_at: When another became current instead; None while it is, or never was.
        outlives_run: Whether its run was pruned.
        arguments: Of a job; None is an asset's materialization.
        limit_key: Of a job; see `NewJob`.
        lane: Of a job; see `NewJob`.
        schedule: Which schedule has enqueued the job, ``tick_at`` for which of its ticks.
        unique: Of a unique job.
        assists: Of an assistant: whom it works for.
        assist_arguments: Of an assistant: what it was added with.
        assistants: Those that were added to it.
    """

    id: int
    run: RunRow
    key: Key
    queue: str
    priority: int
    reason: str
    status: Status
    unmet: int
    inputs: list[int]
    follows: list[int]
    dependents: Sequence[int]
    optional_dependents: Sequence[int]
    awaits: Sequence[int] = ()
    awaited_by: Sequence[int] = ()
    starts: Sequence[int] = ()
    is_tolerated: bool = False
    attempt: int = 0
    claim: int = 0
    due: datetime | None = None
    ticket: int = 0
    moved: int = 0
    rescues: int = 0
    is_abort_asked: bool = False
    wait: Wait | None = None
    wake: Wake | None = None
    is_wake_delivered: bool = False
    early_wake: JsonText | None = None
    error: JsonText | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: int | None = None
    value: JsonText | None = None
    io: str | None = None
    location: JsonText | None = None
    version: str = ""
    is_invalidated: bool = False
    superseded_at: datetime | None = None
    outlives_run: bool = False
    arguments: JsonText | None = None
    limit_key: str | None = None
    lane: str | None = None
    schedule: str | None = None
    tick_at: datetime | None = None
    unique: UniqueKey | None = None
    assists: "Row | None" = None
    assist_arguments: JsonText | None = None
    assistants: list["Row"] = field(default_factory=list)
    failed_attempts: list[FailedAttempt] = field(default_factory=list)

    @property
    def is_job(self) -> bool:
        """Whether it is a job, whose run nobody sees."""
        return self.arguments is not None

    @property
    def partition(self) -> str:
        """The partition, of an assistant that of whom it works for."""
        return (self.assists or self).key.partition

    def is_retryable(self, now: datetime) -> bool:
        """Whether a job has ended, or waits for its time; nothing else can be retried."""
        is_timed = self.status is Status.READY and self.due is not None and self.due > now
        return is_timed or self.status.is_terminal

    def job_record(self, now: datetime) -> JobRecord:
        """Return the job as its reader sees it."""
        assert self.arguments is not None
        is_timed = self.status is Status.READY and self.due is not None and self.due > now
        return JobRecord(
            job_id=self.id,
            name=self.key.asset,
            status=self.status,
            queue=self.queue,
            priority=self.priority,
            attempt=self.attempt,
            arguments=self.arguments,
            result=self.value,
            error=self.error,
            waiting_on=self.wait.on if self.wait and self.status is Status.WAITING else None,
            not_before=self.due if is_timed else None,
            enqueued_at=self.run.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            duration_ms=self.duration_ms,
            schedule=self.schedule,
            tick_at=self.tick_at,
        )

    def record(self) -> MaterializationRecord:
        """Return the materialization as its reader sees it."""
        wait = self.wait if self.status is Status.WAITING else None
        return MaterializationRecord(
            id=self.id,
            run_id=self.run.id,
            key=self.key,
            status=self.status,
            attempt=self.attempt,
            reason=self.reason,
            error=self.error,
            waiting_on=wait.on if wait else None,
            external=wait.external if wait else False,
            started_at=self.started_at,
            finished_at=self.finished_at,
            duration_ms=self.duration_ms,
            whom=wait.whom if wait else (),
        )

    def current(self) -> Current:
        """Return the value as the planner sees it; only of a row that has succeeded."""
        if self.finished_at is None:
            raise ValueError(f"materialization {self.id} has no value yet")
        return Current(
            materialization_id=self.id,
            io=self.io,
            location=self.location,
            version=self.version,
            upstreams=tuple(dict.fromkeys([*self.inputs, *self.follows])),
            materialized_at=self.finished_at,
            invalidated=self.is_invalidated,
        )

    def as_input(self) -> StoredInput:
        """Return the value as the claim of a dependent carries it."""
        is_small = self.value is not None and len(self.value) <= INLINE_CHARACTERS
        return StoredInput(
            asset=self.key.asset,
            materialization_id=self.id,
            io=self.io,
            location=self.location,
            value=self.value if is_small else None,
        )


@dataclass(slots=True, eq=False)
class WorkerRow:
    """
    A worker, the materializations that it owns by id, and the suspect that it has begun last.

    Attributes:
        slots: What somebody has said for this worker, by queue.
    """

    id: int
    info: WorkerInfo
    started_at: datetime
    beaten_at: datetime
    owned: dict[int, Row] = field(default_factory=dict)
    suspect_id: int | None = None
    slots: dict[str, int] = field(default_factory=dict)


def wake_from(wait: Wait, *, payload: JsonValue = None, timed_out: bool = False) -> Wake:
    """Return the end of a wait as the next attempt sees it."""
    return Wake(on=wait.on, state=json.loads(wait.state), payload=payload, timed_out=timed_out)
