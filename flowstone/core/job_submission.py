"""From a job with arguments to a row that waits: options checked, arguments encoded."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from flowstone.core import duration
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.job_queue import Enqueued, NewJob
from flowstone.core.contracts.store import Store
from flowstone.core.definitions import Definitions
from flowstone.core.errors import InvalidOptionError, UnknownJobError
from flowstone.core.job import JobCall
from flowstone.core.limit_key import limit_key, text_of
from flowstone.core.options import OptionReader
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.unique import dedupe_key
from flowstone.core.unique_key import OnConflict

LONGEST_DEDUPE = 1024


class JobOptions(TypedDict, total=False):
    """What ``app.enqueue`` takes beside a job's call."""

    conn: object
    queue: str | None
    priority: int | None
    at: datetime | None
    delay: timedelta | str | float | None
    dedupe: str | None


class JobSubmissions:
    """
    Enqueues the jobs of one application.

    Args:
        limit_keys: By queue the argument that its limits per key go by.
    """

    def __init__(
        self,
        definitions: Definitions,
        store: Store,
        codec: Codec,
        limit_keys: Mapping[str, str],
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._codec = codec
        self._limit_keys = limit_keys

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
        dedupe: str | None = None,
    ) -> Sequence[Enqueued]:
        """
        Write jobs, all or none, and say what became of each, in the order given.

        Raises:
            UnknownJobError: One belongs to a pipeline that the application was not given.
            JobArgumentsError: Arguments are not of the types that the function says.
            InvalidOptionError: An option has a wrong value.
            JobExistsError: One is the same as another that is there, and wants that to be told.
        """
        read = OptionReader()
        queue = read.queue(queue)
        priority = None if priority is None else read.priority(priority)
        if read.objections:
            raise InvalidOptionError("; ".join(read.objections))
        at, dedupe = checked_at(at), checked_dedupe(dedupe)
        later = None if delay is None else duration.parse(delay, option="delay")
        jobs = [self._new(call, queue, priority, at, later) for call in calls]
        if dedupe is not None:
            _mark(jobs, dedupe)
        _refuse_twins(jobs)
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
        takes = job.arguments
        arguments = takes.encode(call.arguments, self._codec)
        unique = job.options.unique
        queue = queue or job.options.queue or DEFAULT_QUEUE
        new = NewJob(
            job.full_name,
            arguments,
            queue,
            job.options.priority if priority is None else priority,
            at,
            delay,
            None if unique is None else takes.key(call.arguments, arguments, unique, self._codec),
        )
        key, lane = self._limit_keys.get(queue), job.options.lane
        if key is not None or lane is not None:
            known = json.loads(takes.full(call.arguments, arguments, self._codec))
            new.limit_key = limit_key(job.full_name, known, key, unique)
            value = None if lane is None else text_of(known[lane])
            new.lane = None if value is None else f"{job.full_name}:{value}"
        return new


def _mark(jobs: Sequence[NewJob], dedupe: str) -> None:
    """Give the jobs keys that only a repeat of the same call has."""
    for place, job in enumerate(jobs):
        if job.unique is not None:
            raise InvalidOptionError(
                f"dedupe={dedupe!r}: job '{job.name}' has a key already, by its unique=; leave "
                "dedupe= out, or enqueue it by a job that is not unique"
            )
        job.unique = dedupe_key(job.name, dedupe, place)


def _refuse_twins(jobs: Sequence[NewJob]) -> None:
    """Refuse two jobs that are the same, and would be told that the other is there."""
    seen: dict[str, int] = {}
    for place, job in enumerate(jobs):
        if job.unique is None or job.unique.on_conflict is not OnConflict.RAISE:
            continue
        first = seen.setdefault(job.unique.key, place)
        if first != place:
            raise InvalidOptionError(
                f"job '{job.name}' is unique, and calls {first} and {place} of these are the same "
                "(counted from 0); nothing was enqueued"
            )


def checked_at(at: object) -> datetime | None:
    """Return the instant, or refuse what is none."""
    if at is None or (isinstance(at, datetime) and at.tzinfo is not None):
        return at
    raise InvalidOptionError(
        f"at={at!r} must be a datetime with a time zone: datetime.now(UTC) + ..."
    )


def checked_dedupe(dedupe: object) -> str | None:
    """Return the text, or refuse what is none."""
    if dedupe is None:
        return None
    if isinstance(dedupe, str) and 0 < len(dedupe) <= LONGEST_DEDUPE and "\0" not in dedupe:
        return dedupe
    raise InvalidOptionError(
        f"dedupe={dedupe!r} must be a text of 1 to {LONGEST_DEDUPE} characters"
    )
