"""Several want the same thing at the same moment."""

import asyncio
import json
from collections import Counter
from functools import partial

import asyncpg

from flowstone import FlowStone
from flowstone.core.contracts.store import Capacity, Settlement, WorkerInfo
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.status import Event
from flowstone.engine import rows
from flowstone.engine.statements import call
from flowstone.engine.store import PostgresStore
from tests.scenarios.consistency import assert_completed_once
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, connected
from tests.scenarios.pipelines.gated import after_held, plain
from tests.scenarios.spawned import Spawner

ROUNDS = 40


async def test_of_two_workers_that_fight_over_one_job_one_gets_it(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    workers = [spawn.worker(dsn, "gated", slots=1) for _ in range(2)]
    await eventually(lambda: pg.fetchval("SELECT count(*) = 2 FROM flowstone.workers"))
    runs = []
    for _ in range(ROUNDS):
        runs.append(await app.enqueue(plain, force=True))
        await runs[-1].result(timeout=60)

    await assert_completed_once(pg, ledger, *(run.run_id for run in runs))
    starts = Counter(start.materialization for start in ledger.starts())
    assert len(starts) == ROUNDS
    assert set(starts.values()) == {1}
    assert {start.pid for start in ledger.starts()} <= {worker.pid for worker in workers}


async def test_two_who_run_the_same_target_both_get_a_value(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    wanted = {"dsn": dsn, "pipelines": ["gated"], "target": after_held.full_name}
    runners = [spawn.start("runner", wanted) for _ in range(2)]
    for runner in runners:
        await eventually(partial(ledger.is_open, f"ready-{runner.pid}"))
    ledger.open_gate("go")
    await eventually(partial(ledger.has_starts, 2))  # neither finds what the other has made
    ledger.open_gate("held-1")
    assert [await runner.exit_code() for runner in runners] == [0, 0]

    run_ids = [row["run_id"] for row in await pg.fetch("SELECT run_id FROM flowstone.runs")]
    assert len(run_ids) == 2
    found = await assert_completed_once(pg, ledger, *run_ids)
    made = {row["value"]["token"] for row in found.values() if row["asset"] == after_held.full_name}
    assert {json.loads(runner.output().splitlines()[-1])["token"] for runner in runners} <= made


async def test_what_another_has_claimed_while_a_rescue_waited_is_left_to_him(
    app: FlowStone, dsn: str, pg: asyncpg.Connection
) -> None:
    store = PostgresStore(dsn)
    await store.open()
    try:
        await app.enqueue(plain)
        silent, other = [
            await store.register_worker(WorkerInfo(host, 1, [DEFAULT_QUEUE])) for host in "ab"
        ]
        (claim,) = (await store.turn(silent, [], Capacity({DEFAULT_QUEUE: 1}))).claims
        await pg.execute(
            "UPDATE flowstone.flowstone_workers SET heartbeat_at = 'epoch' WHERE id = $1", silent
        )
        async with connected(dsn) as own, own.transaction():
            await turn(own, silent, Settlement(claim.id, claim.claim, Event.HANDED_BACK))
            await turn(own, other, slots=1)
            rescuing = asyncio.create_task(store.rescue(max_rescues=5))
            await eventually(lambda: behind_a_lock(pg, "flowstone_rescue_v1"))

        assert await rescuing == []
        assert await store.owned(other) == [(claim.id, claim.claim + 1)]
    finally:
        await store.close()


async def turn(
    pg: asyncpg.Connection, worker_id: int, *settlements: Settlement, slots: int = 0
) -> None:
    """Make a worker's turn in a transaction of the test's own."""
    statement = call(
        "flowstone",
        "flowstone_turn_v1",
        *("bigint", *rows.SETTLEMENT_TYPES, "text[]", "integer[]", "bigint", "integer"),
    )
    arrays = rows.settlement_arrays(settlements)
    await pg.fetch(statement, worker_id, *arrays, [DEFAULT_QUEUE], [slots], None, 0)
