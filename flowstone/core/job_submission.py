"""From a job with arguments to a row that waits: options checked, arguments encoded."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from flowstone.core import duration
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.contracts.store import Store
from flowstone.core.definitions import Definitions
from flowstone.core.errors import InvalidOptionError, UnknownJobError
from flowstone.core.job import JobCall
from flowstone.core.options import OptionReader
from flowstone.core.planner import DEFAULT_QUEUE


class JobOptions(TypedDict, total=False):
    """What ``app.enqueue`` takes beside a job's call."""

    conn: object
    queue: str | None
    priority: int | None
    at: datetime | None
    delay: timedelta | str | float | None


class JobSubmissions:
    """Enqueues the jobs of one application."""

    def __init__(self, definitions: Definitions, store: Store, codec: Codec) -> None:
        self._definitions = definitions
        self._store = store
        self._codec = codec

    async def enqueue(
        self,
        calls: Sequence[JobCall[object]],
        /,
        *,
        conn: object = None,
        queue: str | None = None,
        priority: int | None = None,
        at: datetime | None = None,
        delay: timedelta | str | float | None = None,
    ) -> Sequence[int]:
        """
        Write jobs, all or none, and return their ids in the order given.

        Raises:
            UnknownJobError: One belongs to a pipeline that the application was not given.
            JobArgumentsError: Arguments are not of the types that the function says.
            InvalidOptionError: An option has a wrong value.
        """
        read = OptionReader()
        queue = read.queue(queue)
        priority = None if priority is None else read.priority(priority)
        if read.objections:
            raise InvalidOptionError("; ".join(read.objections))
        at = checked_at(at)
        later = None if delay is None else duration.parse(delay, option="delay")
        jobs = [self._new(call, queue, priority, at, later) for call in calls]
        return await self._store.enqueue(jobs, conn=conn) if jobs else []

    def _new(
        self,
        call: JobCall[object],
        queue: str | None,
        priority: int | None,
        at: datetime | None,
        delay: timedelta | None,
    ) -> NewJob:
        job = call.job
        if self._definitions.jobs.get(job.full_name) is not job:
            raise UnknownJobError(job.full_name, self._definitions.jobs)
        return NewJob(
            job.full_name,
            job.arguments.encode(call.arguments, self._codec),
            queue or job.options.queue or DEFAULT_QUEUE,
            job.options.priority if priority is None else priority,
            at,
            delay,
        )


def checked_at(at: object) -> datetime | None:
    """Return the instant, or refuse what is none."""
    if at is None or (isinstance(at, datetime) and at.tzinfo is not None):
        return at
    raise InvalidOptionError(
        f"at={at!r} must be a datetime with a time zone: datetime.now(UTC) + ..."
    )
