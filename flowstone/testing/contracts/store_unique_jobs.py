"""Short ways to enqueue unique jobs and to lose them, for tests of a store."""

import json
from collections.abc import Collection, Sequence
from datetime import timedelta

from flowstone.core.contracts.job_queue import Enqueued, NewJob
from flowstone.core.contracts.store import JsonText, Store
from flowstone.core.status import Status
from flowstone.core.unique_key import JobState, OnConflict, UniqueKey
from flowstone.testing.contracts.store_contract_jobs import ids, job
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    Settle,
    SettleLater,
    cancelled,
    failed,
    handed_back,
    new_worker,
    retried,
    skipped,
    snoozed,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

OPEN = frozenset({JobState.WAITING, JobState.RUNNING})
WAITING = frozenset({JobState.WAITING})
ALL = frozenset(JobState)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=10)

ENDS: Sequence[tuple[Settle, JobState]] = [
    (succeeded, JobState.SUCCEEDED),
    (skipped, JobState.SUCCEEDED),
    (failed, JobState.FAILED),
    (cancelled, JobState.CANCELLED),
]
BACK: Sequence[SettleLater] = [retried, snoozed, handed_back]


def unique_job(
    key: str = "k",
    *,
    states: Collection[JobState] = OPEN,
    within: timedelta | None = None,
    on_conflict: OnConflict = OnConflict.EXISTING,
    arguments: JsonText = "{}",
    queue: str = QUEUE,
    priority: int = 0,
    delay: timedelta | None = None,
) -> NewJob:
    """Return a job with a key."""
    unique = UniqueKey(key, frozenset(states), within, on_conflict)
    return NewJob("test.sync", arguments, queue, priority, delay=delay, unique=unique)


async def enqueue(store: Store, new: NewJob) -> Enqueued:
    """Enqueue one job."""
    [enqueued] = await store.enqueue([new])
    return enqueued


async def created(store: Store, new: NewJob) -> int:
    """Enqueue one job that is the first of its key, and return its id."""
    enqueued = await enqueue(store, new)
    assert enqueued == Enqueued(enqueued.job_id, created=True, replaced=False)
    return enqueued.job_id


async def status(store: Store, job_id: int) -> Status:
    return (await job(store, job_id)).status


async def lose(
    suite: StoreSuite,
    store: Store,
    job_id: int,
    *,
    meanwhile: NewJob | None = None,
    max_rescues: int = 3,
) -> int:
    """Let a worker claim the job and die; return what was enqueued before the rescue."""
    worker = await new_worker(store, lease=LEASE)
    assert ids(await worker.claims()) == [job_id]
    other = 0 if meanwhile is None else await created(store, meanwhile)
    await suite.advance(store, 2 * LEASE)
    await store.rescue(max_rescues=max_rescues)
    return other


async def assert_superseded(store: Store, job_id: int, *, by: int) -> None:
    record = await job(store, job_id)
    assert record.status is Status.CANCELLED
    assert record.finished_at is not None
    assert record.error is not None
    error = json.loads(record.error)
    assert (error["code"], error["job_id"]) == ("superseded", by)
