"""
The part of a store that is a job queue: jobs below the assets.

A job is claimed, settled, rescued and waited for as a materialization is, by `Store.turn` and the
rest; here is what only jobs have. Their ids are those of their materializations.

Source: docs/adr/0017.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from flowstone.core.contracts.activity import Activity
from flowstone.core.contracts.job_records import FailedAttempt, JobRecord, NewJob
from flowstone.core.contracts.job_selection import JobBatch, JobChange, JobPage, JobSelection
from flowstone.core.unique_key import Enqueued

__all__ = [
    "Activity",
    "Enqueued",
    "FailedAttempt",
    "JobBatch",
    "JobChange",
    "JobPage",
    "JobQueue",
    "JobRecord",
    "JobSelection",
    "NewJob",
]


class JobQueue(ABC):
    """
    Jobs of one store.

    Every method is one atomic step. A topic ``job:<id>`` is published when a job has ended that
    somebody has asked to `await_job`.
    """

    @abstractmethod
    async def enqueue(self, jobs: Sequence[NewJob], *, conn: object = None) -> Sequence[Enqueued]:
        """
        Write the jobs, all or none, and say what became of each, in the order given.

        A job whose key another holds is not written; see `UniqueKey`. It is as if they were
        enqueued one after the other, but that keys which raise differ.

        Raises:
            JobExistsError: Another holds a key that raises. Nothing was written; a transaction of
                the caller's can go on.
        """

    @abstractmethod
    async def jobs(self, job_ids: Sequence[int]) -> Mapping[int, JobRecord]:
        """Return these jobs as they stand; what is no job, or none any longer, is left out."""

    @abstractmethod
    async def await_job(self, job_id: int) -> None:
        """Ask that the job's end be published; nothing happens when it has ended."""

    @abstractmethod
    async def cancel_jobs(self, job_ids: Sequence[int]) -> int:
        """
        Cancel what has not started, and ask what runs to stop.

        Returns how many were not yet terminal. Repeating it is harmless.
        """

    @abstractmethod
    async def failed_attempts(self, materialization_id: int) -> Sequence[FailedAttempt]:
        """Return what each failed attempt failed with, of a job or of an asset, in order."""

    @abstractmethod
    async def find_jobs(
        self,
        selection: JobSelection,
        *,
        limit: int = 100,
        before: int | None = None,
        conn: object = None,
    ) -> JobPage:
        """
        Return the jobs that are meant, newest first.

        Reads a bounded number of rows, so that a page may hold fewer than there are; go on where
        `JobPage.before` says.

        Args:
            before: Only those with a smaller id.
        """

    @abstractmethod
    async def change_jobs(
        self,
        change: JobChange,
        selection: JobSelection,
        *,
        limit: int = 1000,
        before: int | None = None,
        dry_run: bool = False,
    ) -> JobBatch:
        """
        Retry, cancel or delete the jobs that are meant, newest first, as far as one step goes.

        A step has a bounded length; go on where `JobBatch.before` says. Whether a job is meant is
        decided in the moment when it is changed. Where ids are not named, a job that somebody holds
        is passed over by a retry and a delete.

        A retried job keeps its id, and gets the next claim number, so that a late worker of its
        former life is refused. Its attempts are counted on, so that it may run once at least, and
        as often as its policy has attempts left. Its failed attempts stay, and ``error`` if it had
        failed; its result goes.

        Args:
            limit: The most that are changed in this step.
            before: Only those with a smaller id.
            dry_run: Change nothing, only count.
        """

    @abstractmethod
    async def activity(self, *, most: int = 20) -> Activity:
        """
        Return what is going on, assets included; cheap enough to be asked every second.

        Args:
            most: How many of what runs, and of what has failed.
        """
