"""A turn notifies of what it leaves to others, and of nothing that it claims itself."""

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
from flowstone.engine.store import PostgresStore


async def a_pair(store: PostgresStore, *, priority: int) -> None:
    """One run of two steps, of which the second comes before others."""
    _, (first, second) = await store.current([], reserve=2)
    keys = [Key("shop.first", ""), Key("shop.second", "")]
    steps = [
        PlannedStep(first, keys[0], "default", 0, "new", dependents=[second]),
        PlannedStep(second, keys[1], "default", priority, "new", unmet=1, inputs=[first]),
    ]
    await store.create_run(NewRun(targets=keys[1:], steps=steps, reused=[]))


async def a_fan(store: PostgresStore, width: int) -> None:
    """One run: a first materialization, and as many that depend on it."""
    _, (first, *rest) = await store.current([], reserve=1 + width)
    keys = [Key(f"shop.{name}", "") for name in ("first", *(f"next_{n}" for n in range(width)))]
    steps = [
        PlannedStep(first, keys[0], "default", 0, "new", dependents=rest),
        *(
            PlannedStep(id_, key, "default", 0, "new", unmet=1, inputs=[first])
            for id_, key in zip(rest, keys[1:], strict=True)
        ),
    ]
    await store.create_run(NewRun(targets=keys[1:], steps=steps, reused=[]))


def succeeded(claim: Claim) -> Settlement:
    return Settlement(claim.id, claim.claim, Event.SUCCEEDED, value="1", version="1")


@pytest.mark.parametrize(("slots", "heard"), [(3, 0), (2, 1), (0, 1)])
async def test_successors_are_notified_once_when_some_are_left(
    store: PostgresStore, pg: asyncpg.Connection, slots: int, heard: int
) -> None:
    worker = await store.register_worker(WorkerInfo("here", 1, ["default"]))
    await a_fan(store, width=3)
    (first,) = (await store.turn(worker, [], Capacity(queues={"default": 1}))).claims
    notifications: list[object] = []
    await pg.add_listener(
        "procrastinate_queue_v1#default", lambda *told: notifications.append(told)
    )

    turn = await store.turn(worker, [succeeded(first)], Capacity(queues={"default": slots}))
    await pg.fetchval("SELECT 1")  # notifications come before the answer

    assert len(turn.claims) == slots
    assert len(notifications) == heard


async def test_a_job_that_an_optional_dependent_gets_in_a_turn_is_notified(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    worker = await store.register_worker(WorkerInfo("here", 1, ["default"]))
    _, (first, then) = await store.current([], reserve=2)
    steps = [
        PlannedStep(first, Key("shop.first", ""), "default", 0, "new", optional_dependents=[then]),
        PlannedStep(then, Key("shop.then", ""), "default", 0, "new", unmet=1, inputs=[first]),
    ]
    await store.create_run(NewRun(targets=[Key("shop.then", "")], steps=steps, reused=[]))
    (claim,) = (await store.turn(worker, [], Capacity(queues={"default": 1}))).claims
    notifications: list[object] = []
    await pg.add_listener(
        "procrastinate_queue_v1#default", lambda *told: notifications.append(told)
    )

    skipped = Settlement(claim.id, claim.claim, Event.SKIPPED)
    await store.turn(worker, [skipped], Capacity())
    await pg.fetchval("SELECT 1")

    assert len(notifications) == 1


@pytest.mark.parametrize(
    ("slots", "claimed", "notified"),
    [(1, ["shop.second"], 1), (2, ["shop.first", "shop.second"], 0)],
    ids=["it has to", "it has not"],
)
async def test_what_has_to_stand_back_for_a_successor_is_notified(
    store: PostgresStore, pg: asyncpg.Connection, slots: int, claimed: list[str], notified: int
) -> None:
    worker = await store.register_worker(WorkerInfo("here", 1, ["default"]))
    await a_pair(store, priority=1)
    (first,) = (await store.turn(worker, [], Capacity(queues={"default": 1}))).claims
    await a_fan(store, width=0)
    notifications: list[object] = []
    await pg.add_listener(
        "procrastinate_queue_v1#default", lambda *told: notifications.append(told)
    )

    # The turn has the other one's row before it has its successor; an idle worker passes that by.
    turn = await store.turn(worker, [succeeded(first)], Capacity(queues={"default": slots}))
    await pg.fetchval("SELECT 1")

    assert sorted(it.asset for it in turn.claims) == claimed
    assert len(notifications) == notified
