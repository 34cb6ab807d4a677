"""Who holds a queue, in a transaction that stays open, and what turns do meanwhile."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.contracts.store import Capacity, Claim, Turn
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_contract_queues import status
from flowstone.testing.contracts.store_runs import Worker, new_worker, succeeded
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock

LIMIT = "SELECT flowstone.limit_queue('narrow', max_running => 2)"
LOCK_JOB = "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE"
IN_ORDER = """
SELECT name FROM unnest(ARRAY['narrow', 'wide']) name ORDER BY flowstone.flowstone_queue_lock(name)
"""
PATIENT = """
ALTER FUNCTION flowstone.flowstone_turn_v1 SET lock_timeout TO '1min';
ALTER FUNCTION flowstone.flowstone_wait_for_queue SET lock_timeout TO '1min'
"""
"""Turns wait for a lock until it is let go, however long a test takes for that."""
BOTH = Capacity({"narrow": 5, "wide": 5})


async def one_that_runs(store: PostgresStore, *, waiting: int) -> tuple[Worker, Claim]:
    await store.limit_queue("narrow", max_running=2)
    await enqueued(store, new_job(queue="narrow"))
    worker = await new_worker(store)
    [claim] = (await store.turn(worker.id, [], BOTH)).claims
    await enqueued(store, *[new_job(queue="narrow")] * waiting)
    return worker, claim


async def behind(pg: asyncpg.Connection, turn: asyncio.Task[Turn]) -> None:
    """Return when the turn waits for a lock, or has waited long enough."""

    async def is_there() -> bool:
        return turn.done() or await behind_a_lock(pg, "flowstone_turn_v1")

    await eventually(is_there)


async def test_a_turn_settles_and_claims_later_when_somebody_holds_the_queue(
    store: PostgresStore, open_transaction: asyncpg.Connection
) -> None:
    worker, claim = await one_that_runs(store, waiting=3)
    [other] = await enqueued(store, new_job(queue="wide"))
    await open_transaction.execute(LIMIT)

    async with asyncio.timeout(30):
        turn = await store.turn(worker.id, [succeeded(claim)], BOTH)
    assert (turn.refused, [it.id for it in turn.claims]) == ([], [other])
    assert turn.held is not None
    assert turn.held.total_seconds() <= 0.1
    assert (await status(store, "narrow")).running == 0

    await open_transaction.execute("ROLLBACK")
    assert len((await store.turn(worker.id, [], BOTH)).claims) == 2


async def test_who_holds_the_queue_may_want_what_a_turn_has_settled(
    store: PostgresStore, pg: asyncpg.Connection, open_transaction: asyncpg.Connection
) -> None:
    worker, claim = await one_that_runs(store, waiting=1)
    await open_transaction.execute(LIMIT)
    turn = asyncio.create_task(store.turn(worker.id, [succeeded(claim)], BOTH))
    await behind(pg, turn)

    await open_transaction.execute(LOCK_JOB, claim.id)
    assert (await turn).refused == []


async def test_workers_settle_side_by_side(
    store: PostgresStore, pg: asyncpg.Connection, open_transaction: asyncpg.Connection
) -> None:
    await pg.execute(PATIENT)
    worker, claim = await one_that_runs(store, waiting=1)
    await open_transaction.execute(LOCK_JOB, claim.id)
    turn = asyncio.create_task(store.turn(worker.id, [succeeded(claim)], BOTH))
    await behind(pg, turn)

    other = await new_worker(store)
    assert len((await store.turn(other.id, [], BOTH)).claims) == 1
    assert not turn.done()
    await open_transaction.execute("ROLLBACK")
    assert (await turn).refused == []


async def test_who_scales_a_queue_or_brings_its_first_key_holds_up_no_turn(
    store: PostgresStore, open_transaction: asyncpg.Connection
) -> None:
    for queue in ("narrow", "wide"):
        await store.limit_queue(queue, max_running=5)
    keyed = NewJob("test.keyed", "{}", "narrow", limit_key="a")
    [first] = await enqueued(store, keyed)
    [second] = await enqueued(store, new_job(queue="wide"))
    await open_transaction.execute("SELECT flowstone.scale_queue('narrow', 3)")
    keyed.queue = "wide"
    await store.enqueue([keyed], conn=open_transaction)

    worker = await new_worker(store)
    claims = (await store.turn(worker.id, [], BOTH)).claims
    assert sorted(it.id for it in claims) == [first, second]


@pytest.mark.parametrize("is_resumed", [True, False])
async def test_a_limit_that_comes_while_a_turn_waits_is_not_exceeded(
    store: PostgresStore,
    pg: asyncpg.Connection,
    open_transaction: asyncpg.Connection,
    is_resumed: bool,
) -> None:
    await pg.execute(PATIENT)
    names: Sequence[str] = [row["name"] for row in await pg.fetch(IN_ORDER)]
    await store.limit_queue(names[0], max_running=1)
    if is_resumed:
        await store.limit_queue(names[1], max_running=1)
        await store.pause_queue(names[1])
    await enqueued(store, *[new_job(queue=names[1])] * 5)
    worker = await new_worker(store)
    await open_transaction.execute("SELECT flowstone.pause_queue($1)", names[0])
    turn = asyncio.create_task(store.turn(worker.id, [], BOTH))
    await behind(pg, turn)

    if is_resumed:
        await store.resume_queue(names[1])
    else:
        await store.limit_queue(names[1], max_running=1)
    await open_transaction.execute("ROLLBACK")
    first = len((await turn).claims)
    assert first <= 1
    later = await store.turn(worker.id, [], BOTH)
    assert first + len(later.claims) == 1


@pytest.mark.parametrize(("was", "comes"), [("todo", "doing"), ("doing", "todo")])
async def test_a_queue_is_not_drained_when_what_it_has_begins_or_comes_back_meanwhile(
    store: PostgresStore, pg: asyncpg.Connection, was: str, comes: str
) -> None:
    await enqueued(store, new_job(queue="narrow"))
    move = "UPDATE flowstone.procrastinate_jobs SET status = '{}'"
    await pg.execute(move.format(was))
    # Those that run are counted, and then it moves, before anything else is looked at.
    await pg.execute(
        "CREATE OR REPLACE FUNCTION flowstone.flowstone_running_in(p_queue text)"
        " RETURNS integer LANGUAGE plpgsql"
        f" AS $$BEGIN {move.format(comes)}; RETURN 0; END$$"
    )
    assert not await store.is_drained("narrow")
