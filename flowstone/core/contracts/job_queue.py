"""
The part of a store that is a job queue: jobs below the assets.

A job is claimed, settled, rescued and waited for as a materialization is, by `Store.turn` and the
rest; here is what only jobs have. Their ids are those of their materializations.

Source: docs/adr/0017.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from flowstone.core.contracts.job_records import FailedAttempt, JobRecord, NewJob

__all__ = ["FailedAttempt", "JobQueue", "JobRecord", "NewJob"]


class JobQueue(ABC):
    """
    Jobs of one store.

    Every method is one atomic step. A topic ``job:<id>`` is published when a job has ended that
    somebody has asked to `await_job`.
    """

    @abstractmethod
    async def enqueue(self, jobs: Sequence[NewJob], *, conn: object = None) -> Sequence[int]:
        """Write the jobs, all or none, and return their ids in the order given."""

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
