"""Cancelling that meets a turn half way: what the turn has just begun is asked to stop as well."""

import asyncio

import asyncpg
import pytest

from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_awaiting import until
from flowstone.testing.contracts.store_runs import new_run, new_worker, waited
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

TURN = """
SELECT id FROM flowstone.flowstone_turn_v1(
    $1, ARRAY[$2::bigint], ARRAY[$3::integer], '{1}', '{7}', '{NULL}', '{NULL}', '{1}', NULL,
    '{NULL}', '{1}', NULL, '{default}', ARRAY[$4::integer], NULL, 1000
)
"""


@pytest.mark.parametrize("slots", [1, 5])
async def test_a_step_that_begins_while_its_run_is_cancelled_is_asked_to_stop(
    store: PostgresStore, dsn: str, pg: asyncpg.Connection, slots: int
) -> None:
    worker = await new_worker(store)
    run = await new_run(store, {"a": [], "b": ["a"]})
    claim = (await worker.claim())["a"]
    async with connected(dsn) as turning, turning.transaction():
        begun = await turning.fetch(TURN, worker.id, claim.id, claim.claim, slots)
        cancelling = asyncio.create_task(store.cancel_run(run.id))
        await eventually(lambda: behind_a_lock(pg, "flowstone_cancel_run_v1"))

    assert [row["id"] for row in begun] == [run["b"]]
    assert await cancelling == 1
    assert list(await store.aborts(worker.id)) == [run["b"]]


async def test_a_branch_that_begins_while_it_is_given_up_is_asked_to_stop(
    store: PostgresStore, dsn: str, pg: asyncpg.Connection
) -> None:
    worker = await new_worker(store)
    # Somebody else needs what the branch is made from, so that this one goes on.
    run = await new_run(store, {"a": [], "x": ["a"], "b": ["a"], "c": [], "p": ["&b", "&c"]})
    claims = await worker.claim()
    await worker.settle(waited(claims["p"], until=until(run, "b")))
    await store.wake(run["p"], "1")
    again = await worker.claim()
    async with connected(dsn) as turning, turning.transaction():
        a = claims["a"]
        begun = await turning.fetch(TURN, worker.id, a.id, a.claim, 5)
        giving_up = asyncio.create_task(
            store.give_up(run["p"], again["p"].claim, [run["b"]], "late")
        )
        await eventually(lambda: behind_a_lock(pg, "flowstone_give_up_v1"))

    assert sorted(row["id"] for row in begun) == [run["x"], run["b"]]
    assert await giving_up == 1
    assert list(await store.aborts(worker.id)) == [run["b"]]
