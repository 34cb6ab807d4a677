"""What is going on in a store at one moment, as ``flowstone top`` shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.core.json_value import JsonText

MOST_COUNTED = 10_000
"""Counts of what waits end here: a view that looks every second must not read a million rows."""

LATELY = timedelta(seconds=10)
"""What `QueueActivity.per_second` is taken over."""


@dataclass(frozen=True, slots=True)
class QueueActivity:
    """
    A queue, of jobs and materializations alike.

    Attributes:
        due: What could be claimed now; `MOST_COUNTED` is as many or more.
        later: What is timed, retried, snoozed or waits; likewise.
        per_second: How many succeeded, failed or were skipped by their function; on a busy Postgres
            an estimate from samples.
    """

    name: str
    due: int
    later: int
    running: int
    per_second: float
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class WorkerActivity:
    """
    A worker.

    Attributes:
        queues: What it serves; empty: one run alone.
        running: What it has claimed and not yet settled.
    """

    worker_id: int
    host: str
    pid: int
    queues: Sequence[str]
    running: int
    started_at: datetime
    heartbeat_at: datetime
    lease: timedelta


@dataclass(frozen=True, slots=True)
class RunningActivity:
    """
    A job or a materialization that a worker has.

    Attributes:
        run_id: None is a job.
    """

    id: int
    run_id: int | None
    name: str
    partition: str
    queue: str
    attempt: int
    worker_id: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class FailureActivity:
    """
    A failed attempt.

    Attributes:
        run_id: None is a job's.
        error: See `flowstone.core.error_record`.
    """

    id: int
    run_id: int | None
    name: str
    partition: str
    attempt: int
    failed_at: datetime
    error: JsonText


@dataclass(frozen=True, slots=True)
class Activity:
    """
    All of it.

    Attributes:
        seen_at: By the store's clock, as every instant here.
        queues: Those that hold something, are served, paused, or were lately worked on; by name.
        workers: By id.
        running: What has run the longest first, as many as were asked for.
        failures: The newest first, as many as were asked for.
    """

    seen_at: datetime
    queues: Sequence[QueueActivity]
    workers: Sequence[WorkerActivity]
    running: Sequence[RunningActivity]
    failures: Sequence[FailureActivity]
