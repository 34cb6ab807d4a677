"""What is enqueued and has not ended: listed, asserted and refuted."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import overload

from flowstone.core import duration
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.contracts.job_queue import JobRecord
from flowstone.core.contracts.job_selection import OF_JOBS, JobSelection
from flowstone.core.contracts.store import JsonText, RunRecord, Store
from flowstone.core.errors import (
    InvalidOptionError,
    JobArgumentsError,
    UnknownJobError,
    ValueNotStorableError,
)
from flowstone.core.job import AnyJob, Job, JobCall
from flowstone.core.job_submission import checked_at
from flowstone.core.status import TERMINAL, Status
from flowstone.testing.enqueued_runs import assert_run, refuse_options_of_jobs, refute_run

OPEN = OF_JOBS - TERMINAL
PAGE = 1_000
SHOWN = 20
TOLERANCE = "1s"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """
    A job that has not ended.

    Attributes:
        job: Its full name.
        arguments: What its function is called with, defaults included; plain JSON where it is not
            what the function takes any longer, or the application does not know the job.
        at: When it is due, if that is still to come.
    """

    job_id: int
    job: str
    arguments: Mapping[str, object]
    queue: str
    priority: int
    status: Status
    attempt: int
    enqueued_at: datetime
    at: datetime | None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        due = "" if self.at is None else f", due {_later(self.at - self.enqueued_at)}"
        priority = f", priority {self.priority}" if self.priority else ""
        return (
            f"{self.job_id}: {self.job}({given}) {self.status}, queue {self.queue}{priority}{due}"
        )


async def enqueued(
    app: FlowStone,
    job: AnyJob | JobCall[object] | None = None,
    /,
    *,
    queue: str | None = None,
    conn: object = None,
) -> list[EnqueuedJob]:
    """
    Return the jobs that have not ended, in the order in which they were enqueued.

    Args:
        job: Only of this one; a call is one with these arguments, defaults included.
        conn: A connection as `FlowStone.enqueue` takes it: also what its transaction has enqueued.
    """
    return [it.shown for it in await _found(app, job, queue, None, conn)]


@overload
async def assert_enqueued(
    app: FlowStone,
    job: AnyJob | JobCall[object],
    /,
    *,
    arguments: Mapping[str, object] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    at: datetime | None = None,
    delay: timedelta | str | float | None = None,
    tolerance: timedelta | str | float = TOLERANCE,
    conn: object = None,
) -> EnqueuedJob: ...


@overload
async def assert_enqueued(
    app: FlowStone,
    asset: Asset[..., object],
    /,
    *,
    partition: object = None,
    queue: str | None = None,
) -> RunRecord: ...


async def assert_enqueued(
    app: FlowStone,
    target: AnyJob | JobCall[object] | Asset[..., object],
    /,
    *,
    partition: object = None,
    arguments: Mapping[str, object] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    at: datetime | None = None,
    delay: timedelta | str | float | None = None,
    tolerance: timedelta | str | float = TOLERANCE,
    conn: object = None,
) -> EnqueuedJob | RunRecord:
    """
    Fail unless there is a job like this, or a run for this asset, that has not ended.

    Returns the first.

    Args:
        target: A job, or its call: then with these arguments, defaults included. Or an asset: then
            only ``partition`` and ``queue`` can be said.
        arguments: With a definition: some of the arguments; the others may be any.
        at: Not before this instant, give or take ``tolerance``.
        delay: Not before this much later than it was enqueued, give or take ``tolerance``.
        conn: A connection as `FlowStone.enqueue` takes it: also what its transaction has enqueued.

    Raises:
        AssertionError: There is none; it says what there is.
        UnknownJobError: The application was not given the job's pipeline.
        UnknownAssetError: Nor the asset's.
        JobArgumentsError: The arguments are not of the types that the job says.
        InvalidOptionError: An option has a wrong value.
    """
    __tracebackhide__ = True
    if isinstance(target, Asset):
        far = None if tolerance == TOLERANCE else tolerance
        refuse_options_of_jobs(
            arguments=arguments, priority=priority, at=at, delay=delay, tolerance=far, conn=conn
        )
        return await assert_run(app, target, partition, queue)
    if partition is not None:
        raise InvalidOptionError("partition= is of assets; a job has none")
    wanted = _Wanted(queue, priority, checked_at(at), _delay(delay), duration.parse(tolerance))
    of_this = await _found(app, target, None, arguments, conn)
    for it in of_this:
        if wanted.is_met_by(it.shown):
            return it.shown
    others = of_this or await _found(app, None, None, None, conn)
    raise AssertionError(
        f"no open job is {_text(target, arguments)}{wanted}\n{_listed([it.shown for it in others])}"
    )


@overload
async def refute_enqueued(
    app: FlowStone,
    job: AnyJob | JobCall[object],
    /,
    *,
    arguments: Mapping[str, object] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    at: datetime | None = None,
    delay: timedelta | str | float | None = None,
    tolerance: timedelta | str | float = TOLERANCE,
    conn: object = None,
) -> None: ...


@overload
async def refute_enqueued(
    app: FlowStone,
    asset: Asset[..., object],
    /,
    *,
    partition: object = None,
    queue: str | None = None,
) -> None: ...


async def refute_enqueued(
    app: FlowStone,
    target: AnyJob | JobCall[object] | Asset[..., object],
    /,
    *,
    partition: object = None,
    arguments: Mapping[str, object] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    at: datetime | None = None,
    delay: timedelta | str | float | None = None,
    tolerance: timedelta | str | float = TOLERANCE,
    conn: object = None,
) -> None:
    """
    Fail if there is a job like this, or a run for this asset, that has not ended.

    Arguments and further errors are those of `assert_enqueued`.

    Raises:
        AssertionError: There is one; it says which.
    """
    __tracebackhide__ = True
    if isinstance(target, Asset):
        far = None if tolerance == TOLERANCE else tolerance
        refuse_options_of_jobs(
            arguments=arguments, priority=priority, at=at, delay=delay, tolerance=far, conn=conn
        )
        await refute_run(app, target, partition, queue)
        return
    if partition is not None:
        raise InvalidOptionError("partition= is of assets; a job has none")
    wanted = _Wanted(queue, priority, checked_at(at), _delay(delay), duration.parse(tolerance))
    found = await _found(app, target, None, arguments, conn)
    met = [it.shown for it in found if wanted.is_met_by(it.shown)]
    if met:
        raise AssertionError(f"an open job is {_text(target, arguments)}{wanted}\n{_listed(met)}")


async def open_jobs(
    store: Store, *, name: str | None = None, queue: str | None = None, conn: object = None
) -> Sequence[JobRecord]:
    """Return all jobs that have not ended, the first one first."""
    selection = JobSelection(name=name, queue=queue, statuses=OPEN)
    found: list[JobRecord] = []
    before: int | None = None
    while True:
        page = await store.find_jobs(selection, limit=PAGE, before=before, conn=conn)
        found += page.jobs
        before = page.before
        if before is None:
            return found[::-1]


@dataclass(frozen=True, slots=True)
class _Found:
    """A job, and its arguments as JSON."""

    shown: EnqueuedJob
    json: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What else is said of a job."""

    queue: str | None
    priority: int | None
    at: datetime | None
    delay: timedelta | None
    tolerance: timedelta

    def is_met_by(self, job: EnqueuedJob) -> bool:
        return (
            self.queue in (None, job.queue)
            and self.priority in (None, job.priority)
            and (self.at is None or (job.at is not None and self._is_near(job.at - self.at)))
            and (
                self.delay is None
                or self._is_near((job.at or job.enqueued_at) - job.enqueued_at - self.delay)
            )
        )

    def _is_near(self, difference: timedelta) -> bool:
        return abs(difference) <= self.tolerance

    def __str__(self) -> str:
        said = [
            f"{name} {value}"
            for name, value in (("in queue", self.queue), ("of priority", self.priority))
            if value is not None
        ]
        if self.at is not None:
            said.append(f"due at {self.at.astimezone(UTC).isoformat()}")
        if self.delay is not None:
            said.append(f"due {_later(self.delay)}")
        return ", ".join(["", *said])


async def _found(
    app: FlowStone,
    target: AnyJob | JobCall[object] | None,
    queue: str | None,
    some: Mapping[str, object] | None,
    conn: object,
) -> list[_Found]:
    job = target.job if isinstance(target, JobCall) else target
    if job is not None and not isinstance(job, Job):
        raise InvalidOptionError(f"{job!r} is no job, nor a job's call such as send_mail.with_(…)")
    if job is not None and app.definitions.jobs.get(job.full_name) is not job:
        raise UnknownJobError(job.full_name, app.definitions.jobs)
    name = None if job is None else job.full_name
    records = await open_jobs(app.store, name=name, queue=queue, conn=conn)
    found = [_read(app, record) for record in records]
    if isinstance(target, JobCall):
        if some is not None:
            raise InvalidOptionError("arguments= is for a job without a call: its call has them")
        text = target.job.arguments.encode(target.arguments, app.codec)
        wanted = _complete(app, target.job, text)[1]
        return [it for it in found if it.json == wanted]
    if some is not None and job is not None:
        unknown = some.keys() - {it.parameter for it in job.body.signature.own_arguments}
        if unknown:
            raise JobArgumentsError(job.full_name, f"it takes no {', '.join(sorted(unknown))}")
        part = json.loads(app.codec.encode(dict(some)))
        return [it for it in found if part == {name: it.json.get(name, _ABSENT) for name in part}]
    return found


def _read(app: FlowStone, record: JobRecord) -> _Found:
    job = app.definitions.find_job(record.name)
    arguments: Mapping[str, object] = json.loads(record.arguments)
    plain = arguments
    if job is not None:
        try:
            arguments, plain = _complete(app, job, record.arguments)
        except JobArgumentsError:
            pass  # Enqueued by other code; it is shown as it is.
    shown = EnqueuedJob(
        record.job_id,
        record.name,
        arguments,
        record.queue,
        record.priority,
        record.status,
        record.attempt,
        record.enqueued_at,
        record.not_before,
    )
    return _Found(shown, plain)


def _complete(
    app: FlowStone, job: AnyJob, text: JsonText
) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Return all arguments as the function gets them, and as JSON."""
    decoded = job.arguments.decode(text, app.codec)
    try:
        return decoded, json.loads(app.codec.encode(decoded))
    except ValueNotStorableError:  # a default that nobody has to store
        return decoded, json.loads(text)


def _delay(delay: timedelta | str | float | None) -> timedelta | None:
    return None if delay is None else duration.parse(delay, option="delay")


def _later(delay: timedelta) -> str:
    return f"{delay} after it was enqueued"


def _text(job: AnyJob | JobCall[object], some: Mapping[str, object] | None) -> str:
    if isinstance(job, JobCall):
        return str(job)
    given = ", ".join(f"{name}={value!r}" for name, value in (some or {}).items())
    return f"{job.full_name}({given}, …)" if given else job.full_name


def _listed(jobs: Iterable[EnqueuedJob]) -> str:
    lines = [f"  {job}" for job in jobs]
    if not lines:
        return "nothing is enqueued"
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(["open jobs:", *lines[:SHOWN], *more])
