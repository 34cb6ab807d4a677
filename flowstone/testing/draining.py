"""What is due, run in this process until nothing is."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import timedelta

from flowstone.core import run_options
from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import Capacity, Settlement, Turn, WorkerInfo
from flowstone.core.errors import InvalidOptionError
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.status import Event, RunStatus
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions
from flowstone.testing.enqueued_jobs import open_jobs
from flowstone.testing.passing_time import advance
from flowstone.testing.watched_executor import WatchedExecutor

MOST = 10_000
"""Attempts; more than that do not end, but enqueue or snooze themselves again."""

IDLE = 3
"""Rounds in which time went on and nothing could be run: something else holds it back."""


@dataclass(frozen=True, slots=True)
class Drained:
    """
    How many attempts ended how.

    Attributes:
        retried: They failed, and are tried again.
        failed: They failed for good.
        waiting: Of assets: they wait for something outside, or for their parts.
        unknown: The application does not know what they are; they went back.
    """

    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    snoozed: int = 0
    skipped: int = 0
    cancelled: int = 0
    waiting: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(astuple(self))


async def drain(
    app: FlowStone,
    queues: str | Iterable[str] | None = None,
    /,
    *,
    limit: int | None = None,
    with_scheduled: bool = False,
    raise_on_failure: bool = False,
    concurrency: int = 1,
) -> Drained:
    """
    Run jobs and assets in this process, as a worker does, until nothing is due.

    What they enqueue meanwhile is run, too. What a limit of its queue holds back is not due.
    Services of plugins do not run beside, and schedules do not tick: see `flowstone.testing.tick`.

    Args:
        queues: Only these; None is every queue that an asset, a job or something open names.
        limit: Stop after so many attempts; the rest stays as it is.
        with_scheduled: Also what is due later: retries, deadlines of waits, what a rate holds back.
            Whenever nothing is due, time is moved to when something is, as by
            `flowstone.testing.advance`.
        raise_on_failure: Raise, at the end, what the first attempt raised that failed, whether or
            not it is tried again.
        concurrency: How many run at once, by queue. With 1 each begins when the one before has
            ended.

    Raises:
        InvalidOptionError: ``limit`` or ``concurrency`` is no number of them; or ``with_scheduled``
            where time cannot be moved.
        AssertionError: It does not come to an end, or time would have to move beyond something that
            the application does not know.
    """
    for name, value in (("limit", limit), ("concurrency", concurrency)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InvalidOptionError(f"{name}={value!r} must be a number from 1 on")
    executor = app._executor_of(WatchedExecutor, concurrency, concurrency)
    executor.limit = min(MOST + 1, limit or MOST + 1)
    try:
        await _drain(app, executor, queues, concurrency, with_scheduled=with_scheduled)
    finally:
        executor.close()
    if len(executor.begun) > MOST and (limit is None or limit > MOST):
        raise AssertionError(
            f"drain() has run {MOST} attempts and is not at the end, the last at "
            f"{executor.begun[-1].label}: does it enqueue itself, or snooze for ever? "
            "drain(limit=…) stops earlier"
        )
    if raise_on_failure and executor.raised:
        raise executor.raised[0]
    count = executor.outcomes
    return Drained(
        succeeded=count[Event.SUCCEEDED],
        retried=count[Event.RETRIED],
        failed=count[Event.FAILED],
        snoozed=count[Event.SNOOZED],
        skipped=count[Event.SKIPPED],
        cancelled=count[Event.CANCELLED],
        waiting=count[Event.WAITED],
        unknown=executor.unknown.total(),
    )


async def _drain(
    app: FlowStone,
    executor: WatchedExecutor,
    queues: str | Iterable[str] | None,
    concurrency: int,
    *,
    with_scheduled: bool,
) -> None:
    idle = 0
    while True:
        served = dict.fromkeys(await _queues(app, queues), concurrency)
        before = len(executor.begun)
        await _work(app, executor, served)
        if executor.limit is not None and len(executor.begun) >= executor.limit:
            return
        if set(await _queues(app, queues)) - served.keys():
            continue
        if not with_scheduled:
            return
        if executor.unknown:
            raise AssertionError(
                "drain(with_scheduled=True) has met what this application does not know "
                f"({', '.join(executor.unknown)}): give it the pipeline, or name queues to drain"
            )
        idle = 0 if len(executor.begun) > before else idle + 1
        later = await _next_due(app, served)
        if later is None or idle > IDLE:
            return
        await advance(app, later)


async def _work(app: FlowStone, executor: WatchedExecutor, slots: dict[str, int]) -> None:
    options = WorkerOptions(queues=slots, drain=True, shutdown_timeout=timedelta(days=1))
    worker = _Impatient(app.store, executor, app._emitter, options)
    executor.at_limit = worker.stop
    await worker.run()


class _Impatient(Worker):
    """A worker that does not wait for what a limit holds back."""

    def _take(self, turn: Turn, offered: dict[str, int]) -> None:
        turn.held = None
        super()._take(turn, offered)


async def _queues(app: FlowStone, given: str | Iterable[str] | None) -> Sequence[str]:
    if given is not None:
        return [given] if isinstance(given, str) else list(given)
    named = [queue or DEFAULT_QUEUE for queue in app.definitions.queues]
    jobs = [job.queue for job in await open_jobs(app.store)]
    runs = await app.store.runs(status=RunStatus.RUNNING, limit=MOST)
    chosen = [run_options.parse(run.options).queue for run in runs]
    return list(dict.fromkeys([*named, *jobs, *filter(None, chosen)]))


async def _next_due(app: FlowStone, slots: dict[str, int]) -> timedelta | None:
    """Return how much later something is due; None when nothing is."""
    store = app.store
    worker_id = await store.register_worker(WorkerInfo("drain", 0, list(slots)))
    try:
        turn = await store.turn(worker_id, [], Capacity(queues=slots))
        if turn.claims:  # It fell due meanwhile: it goes back as it was.
            back = [Settlement(it.id, it.claim, Event.HANDED_BACK) for it in turn.claims]
            await store.turn(worker_id, back, Capacity())
            return timedelta()
        return min((it for it in (turn.next_due, turn.held) if it is not None), default=None)
    finally:
        await store.unregister_worker(worker_id)
