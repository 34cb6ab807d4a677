"""A turn writes events of what it claims and settles itself: those that the triggers would."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.status import Event
from flowstone.core.unique_key import JobState, OnConflict, UniqueKey
from flowstone.engine import triggers
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    SETTLEMENTS,
    handed_back,
    new_run,
    new_worker,
    retried,
    snoozed,
)

BACK = ["deferred_for_retry"]
EXPECTED = {
    Event.SUCCEEDED: ["succeeded"],
    Event.FAILED: ["failed"],
    Event.SKIPPED: ["succeeded"],
    Event.CANCELLED: ["aborted"],
    Event.RETRIED: BACK,
    Event.SNOOZED: BACK,
    Event.WAITED: [*BACK, "scheduled"],
    Event.HANDED_BACK: BACK,
}
LATER = timedelta(hours=1)


@pytest.fixture(params=["batched", "stock"])
async def store(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[PostgresStore]:
    if request.param == "stock":
        triggers.restore(dsn)
    store = PostgresStore(dsn)
    await store.open()
    yield store
    await store.close()


async def events(pg: asyncpg.Connection, id_: int) -> Counter[str]:
    found = await pg.fetch(
        "SELECT type::text FROM flowstone.procrastinate_events WHERE job_id = $1", id_
    )
    return Counter(row["type"] for row in found)


async def test_each_way_to_settle_leaves_its_events_once(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    worker = await new_worker(store)
    run = await new_run(store, {event.name.lower(): [] for event in SETTLEMENTS})
    claims = await worker.claim()

    settled = [settle(claims[event.name.lower()]) for event, settle in SETTLEMENTS.items()]
    assert await worker.settle(*settled) == []

    for event, expected in EXPECTED.items():
        assert await events(pg, run[event.name.lower()]) == Counter(
            ["deferred", "started", *expected]
        ), event


async def test_what_is_to_be_done_later_leaves_its_date_too(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    worker = await new_worker(store)
    ways = {"retried": retried, "snoozed": snoozed, "handed_back": handed_back}
    run = await new_run(store, dict.fromkeys(ways, ()))
    claims = await worker.claim()

    await worker.settle(*(settle(claims[name], LATER) for name, settle in ways.items()))

    for name in ways:
        assert await events(pg, run[name]) == Counter(
            ["deferred", "started", *BACK, "scheduled"]
        ), name


async def test_what_another_job_comes_to_by_it_leaves_events_as_well(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    worker = await new_worker(store)
    key = UniqueKey("k" * 32, frozenset({JobState.WAITING}), None, OnConflict.EXISTING)
    job = NewJob("test.job", "{}", "default", unique=key)
    await store.enqueue([job])
    (first,) = await worker.claims()
    await store.enqueue([job])

    await worker.settle(retried(first))

    ended = Counter(["deferred", "started", *BACK, "cancelled"])
    assert await events(pg, first.id) == ended
