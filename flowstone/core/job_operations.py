"""
Jobs as an operator sees them: found, retried, cancelled and deleted, many at once.

::

    failed = await app.jobs.find(status="failed", job=send_mail, newer_than="1d")
    await app.jobs.retry(status="failed", queue="mail")

Whatever is said has to hold; what is not said does not matter. A change to any number of jobs goes
in steps of a thousand, each a transaction: jobs that were changed stay so, whatever stops the rest.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import TypeAlias, TypedDict, Unpack

from flowstone.core import duration
from flowstone.core.contracts.job_queue import JobChange, JobRecord, JobSelection
from flowstone.core.contracts.job_selection import OF_JOBS
from flowstone.core.contracts.store import Store
from flowstone.core.errors import InvalidOptionError
from flowstone.core.job import AnyJob, Job
from flowstone.core.status import Status

STEP = 1000
"""How many jobs one transaction changes, at most."""

Age: TypeAlias = timedelta | str | float


class Chosen(TypedDict, total=False):
    """
    Which jobs are meant.

    Attributes:
        job: The job, or its full name.
        status: One, or any of several: ``"failed"``, ``["failed", "cancelled"]``.
        older_than: Ended, or enqueued if it has not ended, so long ago at least.
        newer_than: Less long ago than this.
    """

    ids: Iterable[int] | None
    job: AnyJob | str | None
    queue: str | None
    status: Status | str | Iterable[Status | str] | None
    older_than: Age | None
    newer_than: Age | None


class JobOperations:
    """``app.jobs``: jobs of one store, whoever enqueued them and whatever code runs them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(
        self, *, limit: int = 100, before: int | None = None, **chosen: Unpack[Chosen]
    ) -> list[JobRecord]:
        """
        Return jobs, newest first; without a choice, of all.

        Args:
            limit: The most that are returned.
            before: Only those with a smaller id: to page on, the last one's.

        Raises:
            InvalidOptionError: A choice has a wrong value.
        """
        selection = selection_of(**chosen)
        if limit < 1:
            raise InvalidOptionError(f"limit={limit!r} must be at least 1")
        found: list[JobRecord] = []
        while True:
            wanted = limit - len(found)
            page = await self._store.find_jobs(selection, limit=wanted, before=before)
            found += page.jobs
            before = page.before
            if before is None or len(found) == limit:
                return found

    async def retry(
        self, *, every: bool = False, dry_run: bool = False, **chosen: Unpack[Chosen]
    ) -> int:
        """
        Let jobs that have ended, however they did, be ready anew; return how many there were.

        One that waits for its time, for a retry or by ``at=``, is due at once. What runs is left
        alone. Attempts are counted on: a job runs once more at least, and as often as its
        ``retry=`` has attempts left. Its result goes, its failed attempts stay.

        Args:
            every: Also without any choice: every job there is.
            dry_run: Change nothing, only count.

        Raises:
            InvalidOptionError: A choice has a wrong value, or there is none.
        """
        return await self._change(JobChange.RETRY, chosen, every=every, dry_run=dry_run)

    async def cancel(
        self, *, every: bool = False, dry_run: bool = False, **chosen: Unpack[Chosen]
    ) -> int:
        """
        Cancel jobs that have not started, ask those that run to stop, and return how many.

        Arguments and errors are those of `retry`.
        """
        return await self._change(JobChange.CANCEL, chosen, every=every, dry_run=dry_run)

    async def delete(
        self, *, every: bool = False, dry_run: bool = False, **chosen: Unpack[Chosen]
    ) -> int:
        """
        Delete jobs that do not run, ended or not, with their results and errors; return how many.

        Arguments and errors are those of `retry`.
        """
        return await self._change(JobChange.DELETE, chosen, every=every, dry_run=dry_run)

    async def _change(
        self, change: JobChange, chosen: Chosen, *, every: bool, dry_run: bool
    ) -> int:
        selection = selection_of(**chosen)
        if selection == JobSelection() and not every:
            raise InvalidOptionError(
                f"which jobs? app.jobs.{change}(status=…, queue=…, job=…) or every=True"
            )
        count, before = 0, None
        while True:
            batch = await self._store.change_jobs(
                change, selection, limit=STEP, before=before, dry_run=dry_run
            )
            count += batch.count
            before = batch.before
            if before is None:
                return count


def selection_of(
    *,
    ids: Iterable[int] | None = None,
    job: AnyJob | str | None = None,
    queue: str | None = None,
    status: Status | str | Iterable[Status | str] | None = None,
    older_than: Age | None = None,
    newer_than: Age | None = None,
) -> JobSelection:
    """
    Return the choice as a store takes it.

    Raises:
        InvalidOptionError: Something in it has a wrong value.
    """
    return JobSelection(
        ids=None if ids is None else tuple(ids),
        name=job.full_name if isinstance(job, Job) else job,
        queue=queue,
        statuses=None if status is None else _statuses(status),
        older_than=None if older_than is None else duration.parse(older_than, option="older_than"),
        newer_than=None if newer_than is None else duration.parse(newer_than, option="newer_than"),
    )


def _statuses(given: Status | str | Iterable[Status | str]) -> Collection[Status]:
    texts = [given] if isinstance(given, str) else list(given)
    known = {it.value for it in OF_JOBS}
    for text in texts:
        if text not in known:
            names = ", ".join(it.value for it in Status if it in OF_JOBS)
            raise InvalidOptionError(f"status={str(text)!r} is none of a job: {names}")
    return frozenset(map(Status, texts))
