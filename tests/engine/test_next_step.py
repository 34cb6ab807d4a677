"""The next step of a chain begins in the turn that settles the one before it."""

import asyncpg
import pytest

from flowstone.core.contracts.store import (
    Capacity,
    Claim,
    Key,
    NewRun,
    PlannedStep,
    Settlement,
    WorkerInfo,
)
from flowstone.core.status import Event
from flowstone.engine import triggers
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import new_run


@pytest.fixture
async def worker(store: PostgresStore) -> int:
    return await store.register_worker(WorkerInfo("here", 1, ["default"]))


async def begun(
    store: PostgresStore, worker: int, *, queue: str = "default", priority: int = 0
) -> tuple[Claim, int]:
    """Begin the first of two steps; return its claim, and the id of the second."""
    _, (first, second) = await store.current([], reserve=2)
    keys = [Key("shop.first", ""), Key("shop.second", "")]
    steps = [
        PlannedStep(first, keys[0], "default", 0, "new", dependents=[second]),
        PlannedStep(second, keys[1], queue, priority, "new", unmet=1, inputs=[first]),
    ]
    run = await store.create_run(NewRun(targets=keys[1:], steps=steps, reused=[]))
    (claim,) = (await store.turn(worker, [], Capacity({}, run.run_id, 1))).claims
    return claim, second


async def settled(store: PostgresStore, worker: int, claim: Claim, slots: int) -> list[int]:
    """Settle the step, and return the ids of what the same turn claims."""
    settlement = Settlement(claim.id, claim.claim, Event.SUCCEEDED, value="1", version="1")
    turn = await store.turn(worker, [settlement], Capacity({"default": slots}))
    return [it.id for it in turn.claims]


async def events(pg: asyncpg.Connection, id_: int) -> list[str]:
    found = await pg.fetch(
        "SELECT type::text FROM flowstone.procrastinate_events WHERE job_id = $1 ORDER BY id", id_
    )
    return [row["type"] for row in found]


@pytest.mark.parametrize("trigger_set", ["ours", "stock"])
async def test_it_leaves_the_events_of_a_job_that_was_enqueued_and_claimed(
    store: PostgresStore, worker: int, pg: asyncpg.Connection, dsn: str, trigger_set: str
) -> None:
    if trigger_set == "stock":
        triggers.restore(dsn)
    claim, second = await begun(store, worker)

    assert await settled(store, worker, claim, slots=1) == [second]

    assert await events(pg, second) == ["deferred", "started"]
    assert await events(pg, claim.id) == ["deferred", "started", "succeeded"]


async def test_its_job_is_inserted_once_and_not_updated(
    store: PostgresStore, worker: int, pg: asyncpg.Connection
) -> None:
    claim, second = await begun(store, worker)
    await pg.execute(
        f"""
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RAISE EXCEPTION ''updated''; END';
        CREATE TRIGGER refuse BEFORE UPDATE ON flowstone.procrastinate_jobs
        FOR EACH ROW WHEN (NEW.id = {second}) EXECUTE FUNCTION public.refuse()
        """
    )

    assert await settled(store, worker, claim, slots=1) == [second]

    job = await pg.fetchrow(
        "SELECT status::text, attempts, worker_id IS NOT NULL AS is_owned "
        "FROM flowstone.procrastinate_jobs WHERE id = $1",
        second,
    )
    assert job is not None
    assert dict(job) == {"status": "doing", "attempts": 0, "is_owned": True}


@pytest.mark.parametrize(("priority", "comes_first"), [(1, True), (0, False)])
async def test_what_waits_already_keeps_its_place(
    store: PostgresStore, worker: int, priority: int, comes_first: bool
) -> None:
    waiting = (await new_run(store, {"other": []}))["other"]
    claim, second = await begun(store, worker, priority=priority)

    assert await settled(store, worker, claim, slots=1) == [second if comes_first else waiting]

    others = await store.turn(worker, [], Capacity({"default": 5}))
    assert [it.id for it in others.claims] == [waiting if comes_first else second]


async def test_one_that_awaits_others_itself_begins_in_the_same_turn(
    store: PostgresStore, worker: int
) -> None:
    run = await new_run(store, {"first": [], "branch": [], "join": ["first", "&branch"]})
    claims = (await store.turn(worker, [], Capacity({"default": 5}))).claims
    first = next(it for it in claims if it.id == run["first"])

    assert await settled(store, worker, first, slots=1) == [run["join"]]


async def test_one_of_another_queue_is_left_to_others(
    store: PostgresStore, worker: int, pg: asyncpg.Connection
) -> None:
    claim, second = await begun(store, worker, queue="elsewhere")

    assert await settled(store, worker, claim, slots=1) == []

    assert await events(pg, second) == ["deferred"]
    elsewhere = await store.turn(worker, [], Capacity({"elsewhere": 1}))
    assert [it.id for it in elsewhere.claims] == [second]


async def test_without_a_free_slot_it_waits(
    store: PostgresStore, worker: int, pg: asyncpg.Connection
) -> None:
    claim, second = await begun(store, worker)

    assert await settled(store, worker, claim, slots=0) == []

    assert await events(pg, second) == ["deferred"]
