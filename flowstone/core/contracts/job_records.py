"""What goes over the border between a store and the rest about jobs below the assets."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.core.json_value import JsonText
from flowstone.core.status import Status
from flowstone.core.unique_key import UniqueKey


@dataclass(slots=True)
class NewJob:
    """
    A job to enqueue.

    Attributes:
        name: The job's full name.
        arguments: What its function is called with; a JSON object.
        at: Not before this instant.
        delay: Not before this much later, by the store's clock; of both the later counts.
        unique: What keeps others out; None is nothing.
        limit_key: Whose limits per key count for it; None: nobody's.
        lane: The serial lane that it is in: of one lane in one queue one runs at a time, by
            priority, then in the order of their ids. One that has begun keeps its place while it
            waits for its next attempt. None: it is in none.
    """

    name: str
    arguments: JsonText
    queue: str
    priority: int = 0
    at: datetime | None = None
    delay: timedelta | None = None
    unique: UniqueKey | None = None
    limit_key: str | None = None
    lane: str | None = None


@dataclass(slots=True)
class JobRecord:
    """
    A job as it stands.

    Attributes:
        status: ``ready`` also while it waits for its time, for which see ``not_before``.
        attempt: Of the attempt that runs, or ran last; 0 before the first.
        result: What it returned, as JSON; None when that was None.
        error: JSON of the last failure, or the reason of a skip or cancel.
        waiting_on: What it waits for, while it waits.
        not_before: When it is due, if that is still to come.
        schedule: The schedule that has enqueued it.
        tick_at: For which of its ticks; None when it was triggered by hand.
    """

    job_id: int
    name: str
    status: Status
    queue: str
    priority: int
    attempt: int
    arguments: JsonText
    result: JsonText | None
    error: JsonText | None
    waiting_on: str | None
    not_before: datetime | None
    enqueued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    schedule: str | None = None
    tick_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """What one attempt failed with, as JSON; see `flowstone.core.error_record`."""

    attempt: int
    failed_at: datetime
    error: JsonText
