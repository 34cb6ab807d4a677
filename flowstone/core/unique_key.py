"""What a store knows of a unique job: its key, in which states and until when it holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from flowstone.core.status import Status


class JobState(StrEnum):
    """Where a job stands, as `flowstone.Unique` names it."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


STATE_OF: Mapping[Status, JobState] = MappingProxyType(
    {
        Status.READY: JobState.WAITING,
        Status.WAITING: JobState.WAITING,
        Status.RUNNING: JobState.RUNNING,
        Status.SUCCEEDED: JobState.SUCCEEDED,
        Status.SKIPPED: JobState.SUCCEEDED,
        Status.FAILED: JobState.FAILED,
        Status.CANCELLED: JobState.CANCELLED,
    }
)
"""The state of each status that a job can have."""


class OnConflict(StrEnum):
    """What becomes of a job whose key another one holds."""

    EXISTING = "existing"
    REPLACE = "replace"
    RAISE = "raise"


class UniqueKey(NamedTuple):
    """
    The key of one job. A tuple, as a batch has thousands.

    Attributes:
        states: Where the job holds the key; `JobState.WAITING` is always among them.
        within: How long it holds it at most, from when it was enqueued; None is no limit.
    """

    key: str
    states: frozenset[JobState]
    within: timedelta | None = None
    on_conflict: OnConflict = OnConflict.EXISTING


@dataclass(frozen=True, slots=True)
class Enqueued:
    """
    What became of a job that was enqueued.

    Attributes:
        job_id: Its id, or that of the job that holds its key.
        created: False: another holds its key, and it was not written.
        replaced: That other waited, and has its arguments, queue, priority and time now.
    """

    job_id: int
    created: bool = True
    replaced: bool = False
