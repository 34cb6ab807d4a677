"""A job, as the one who enqueued it sees it."""

from datetime import timedelta
from typing import Generic, TypeVar, cast

from flowstone.core import duration
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.job_queue import FailedAttempt, JobChange, JobRecord, JobSelection
from flowstone.core.contracts.store import Store
from flowstone.core.error_record import read_record
from flowstone.core.errors import (
    JobCancelledError,
    JobFailedError,
    JobNotEndedError,
    JobNotFoundError,
)
from flowstone.core.status import Status
from flowstone.core.until_ended import until_ended

T_co = TypeVar("T_co", covariant=True)


class JobHandle(Generic[T_co]):
    """
    One job; ``job_id`` is what rows and commands call it.

    A handle holds nothing: any process may make one from the id with ``app.job``.

    Args:
        annotation: What the job's function returns, as its result is read.
        created: False if `enqueue` found another that is the same: this is the handle of that one.
        replaced: Whether that other waited, and has the arguments, queue, priority and time that
            were given.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        job_id: int,
        annotation: object,
        *,
        created: bool = True,
        replaced: bool = False,
    ) -> None:
        self._store = store
        self._codec = codec
        self._annotation = annotation
        self.job_id = job_id
        self.created = created
        self.replaced = replaced

    def __repr__(self) -> str:
        return f"<job {self.job_id}>"

    async def status(self) -> JobRecord:
        """
        Return the job as it stands.

        Raises:
            JobNotFoundError: It was pruned, or its transaction was rolled back.
        """
        found = await self._store.jobs([self.job_id])
        try:
            return found[self.job_id]
        except KeyError:
            raise JobNotFoundError(self.job_id) from None

    async def wait(self, timeout: timedelta | str | float | None = None) -> JobRecord:
        """
        Return the job once it has ended, however it did.

        Wakes by notification, and looks every few seconds for one that was lost. A store that does
        not answer is waited for.

        Raises:
            JobNotFoundError: There is no such job.
            JobNotEndedError: It has not ended in this time; it goes on.
        """
        limit = None if timeout is None else duration.parse(timeout, option="timeout")
        topic = f"job:{self.job_id}"
        record = await until_ended(self._store, topic, self._look, _is_over, limit)
        if record is not None:
            return record
        assert limit is not None
        raise JobNotEndedError(self.job_id, limit)

    async def result(self, *, timeout: timedelta | str | float | None = None) -> T_co:
        """
        Return what the job returned, once it has; None if it was skipped.

        Raises:
            JobFailedError: It failed, and is not tried again.
            JobCancelledError: It was cancelled.
            JobNotFoundError: There is no such job.
            JobNotEndedError: It has not ended in this time; it goes on.
        """
        record = await self.wait(timeout)
        if record.status is Status.FAILED:
            raise JobFailedError(self.job_id, record.name, read_record(record.error))
        if record.status is Status.CANCELLED:
            raise JobCancelledError(self.job_id, record.name)
        if record.result is None:
            return cast("T_co", None)
        return cast("T_co", self._codec.decode(record.result, self._annotation))

    async def cancel(self) -> bool:
        """Cancel it, or ask it to stop if it runs; False when it had ended."""
        return bool(await self._store.cancel_jobs([self.job_id]))

    async def retry(self) -> bool:
        """
        Let it be ready at once: anew if it has ended, or before its time; see `app.jobs.retry`.

        False when it runs, waits for something, is due already, or is not there.
        """
        return await self._change(JobChange.RETRY)

    async def delete(self) -> bool:
        """Delete it, with its result and errors; False when it runs, or is not there."""
        return await self._change(JobChange.DELETE)

    async def _change(self, change: JobChange) -> bool:
        batch = await self._store.change_jobs(change, JobSelection(ids=[self.job_id]))
        return bool(batch.count)

    async def failed_attempts(self) -> list[FailedAttempt]:
        """Return what each failed attempt failed with, the first one first."""
        return list(await self._store.failed_attempts(self.job_id))

    async def _look(self) -> JobRecord:
        """Ask for the end to be published, then look."""
        await self._store.await_job(self.job_id)
        return await self.status()


def _is_over(record: JobRecord) -> bool:
    return record.status.is_terminal
