"""Which jobs an operator means, and what is to become of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flowstone.core.contracts.job_records import JobRecord
from flowstone.core.status import TERMINAL, Status


@dataclass(frozen=True, slots=True)
class JobSelection:
    """
    Jobs for which all holds that is said; nothing said is every job.

    Age is that of the end, or of the enqueueing of what has not ended, by the store's clock.

    Attributes:
        name: The job's full name.
        statuses: Any of these.
        older_than: This old at least.
        newer_than: Not this old yet.
    """

    ids: Collection[int] | None = None
    name: str | None = None
    queue: str | None = None
    statuses: Collection[Status] | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None


class JobChange(StrEnum):
    """
    What can be done with jobs from outside.

    ``RETRY``: what has ended, however it did, is ready again, and what waits for its time is due
    now. ``CANCEL``: what has not started ends, what runs is asked to stop. ``DELETE``: what does
    not run is gone, with its result and its errors.
    """

    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"

    def among(self, statuses: Collection[Status] | None) -> frozenset[Status]:
        """Return where a job may stand for this to happen to it; None is anywhere."""
        possible = _POSSIBLE[self]
        return possible if statuses is None else possible.intersection(statuses)


OF_JOBS = frozenset(Status) - {Status.PENDING, Status.UPSTREAM_FAILED}
"""Where a job can stand: nothing is upstream of one."""

_POSSIBLE = {
    JobChange.RETRY: (TERMINAL & OF_JOBS) | {Status.READY},
    JobChange.CANCEL: OF_JOBS - TERMINAL,
    JobChange.DELETE: OF_JOBS - {Status.RUNNING},
}


@dataclass(frozen=True, slots=True)
class JobPage:
    """
    Some of the jobs that were meant, newest first.

    Attributes:
        before: Where the next page begins; None when there is none. A page may be empty and not
            the last.
    """

    jobs: Sequence[JobRecord]
    before: int | None


@dataclass(frozen=True, slots=True)
class JobBatch:
    """
    What one step did to the jobs that were meant.

    Attributes:
        count: How many it happened to.
        before: Where the next step begins; None when there is none. A step may do nothing and not
            be the last.
    """

    count: int
    before: int | None
