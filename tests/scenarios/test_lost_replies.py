"""The connection is cut when the server has committed a turn and the worker has not heard of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from flowstone import FlowStone
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, running_jobs_locked
from tests.scenarios.lossy_proxy import LossyProxy, Reply
from tests.scenarios.pipelines.gated import held, plain, postponed
from tests.scenarios.pipelines.random_dag import ASSETS, random_dag
from tests.scenarios.spawned import Spawner

LONG = 600.0
"""A lease that is not over before the test is: nothing here is taken over as from the dead."""


HAS_HANDED_BACK = """
SELECT EXISTS (SELECT FROM flowstone.procrastinate_events WHERE type = 'deferred_for_retry')
"""


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(dsn).listening() as proxy:
        yield proxy


async def test_what_a_lost_turn_claimed_is_done_and_what_it_settled_is_settled_once(
    app: FlowStone,
    proxy: LossyProxy,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    replies = 0

    async def every_third_and_the_first_that_settles(reply: Reply) -> bool:
        nonlocal replies
        replies += 1
        return replies % 3 == 0 or (settles(reply) and not any(map(settles, proxy.lost)))

    proxy.lose = every_third_and_the_first_that_settles
    handle = await app.enqueue_many(random_dag)
    spawn.worker(proxy.dsn, "random_dag", lease=LONG)
    await until_ended(pg, handle.run_id)

    rows = await assert_completed_once(pg, ledger, handle.run_id)
    assert len(proxy.lost) >= 3
    assert any(map(settles, proxy.lost)), "no settlement was lost"
    assert len(ledger.starts()) == len(rows) == ASSETS
    assert {row["attempt"] for row in rows.values()} == {1}


def settles(reply: Reply) -> bool:
    """Whether the turn had a value with it."""
    return b'"token"' in reply.sent


async def test_the_same_work_claimed_anew_by_a_lost_turn_is_not_forgotten(
    app: FlowStone,
    proxy: LossyProxy,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    async def first_claim(reply: Reply) -> bool:
        return "claim" in reply.kinds and not proxy.lost

    handle = await app.enqueue(postponed)
    spawn.worker(proxy.dsn, "gated", lease=LONG)
    await eventually(lambda: ledger.starts())
    proxy.lose = first_claim
    ledger.open_gate("postponed-1")
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)
    assert len(proxy.lost) == 1
    assert len(ledger.starts()) == 2


async def test_what_another_turn_is_about_to_bring_is_not_taken_for_lost(
    app: FlowStone,
    proxy: LossyProxy,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    claims = 0
    may_arrive = asyncio.Event()

    async def first_late_second_lost(reply: Reply) -> bool:
        nonlocal claims
        claims += reply.kinds.count("claim")
        if claims == 1 and "claim" in reply.kinds:
            await may_arrive.wait()
        return claims == 2 and not proxy.lost

    proxy.lose = first_late_second_lost
    runs = [await app.enqueue(plain)]
    spawn.worker(proxy.dsn, "gated", slots=2, lease=LONG)
    await eventually(lambda: claims == 1)
    runs.append(await app.enqueue(plain, force=True))
    await eventually(lambda: proxy.lost)
    with suppress(AssertionError):  # a worker that asked now what it owns would hand back both
        await eventually(lambda: pg.fetchval(HAS_HANDED_BACK), within=0.5)
    may_arrive.set()
    await until_ended(pg, *(run.run_id for run in runs))

    await assert_completed_once(pg, ledger, *(run.run_id for run in runs))
    assert len(ledger.starts()) == 2


async def test_what_a_turn_claims_after_its_connection_is_lost_is_not_left_running(
    app: FlowStone,
    dsn: str,
    proxy: LossyProxy,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    # The turn that is lost waits for its lock for as long as this takes.
    await pg.execute("ALTER FUNCTION flowstone.flowstone_turn_v1 SET lock_timeout TO '1min'")
    first = await app.enqueue(held)
    spawn.worker(proxy.dsn, "gated", slots=1, lease=6)
    await eventually(lambda: ledger.starts())
    then = await app.enqueue(plain)
    async with running_jobs_locked(dsn):
        ledger.open_gate("held-1")
        await eventually(lambda: behind_a_lock(pg, "flowstone_turn_v1"))
        proxy.cut_all()
        await eventually(lambda: behind_a_lock(pg, "flowstone_turn_v1", count=2))
    await until_ended(pg, first.run_id, then.run_id)

    await assert_completed_once(pg, ledger, first.run_id, then.run_id)
