"""Workers are killed in mid-run, one by one and all at once; what they worked on is not lost."""

import random
from functools import partial

import asyncpg
import pytest

from flowstone import FlowStone, RunFailedError
from tests.scenarios.consistency import (
    ENDED,
    assert_completed_once,
    assert_no_worker_is_left,
    until_ended,
)
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import deadly, held, plain
from tests.scenarios.pipelines.poison import aborting, innocent
from tests.scenarios.pipelines.random_dag import ASSETS, PARTITIONS, random_dag
from tests.scenarios.spawned import Spawned, Spawner

BUSY = """
SELECT coalesce(array_agg(w.pid), '{}')
FROM flowstone.materializations m JOIN flowstone.workers w USING (worker_id)
WHERE m.status = 'running'
"""
SUCCEEDED = "SELECT count(*) FROM flowstone.materializations WHERE status = 'succeeded'"


async def test_killed_again_and_again_a_run_completes_everything_once(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    chance = random.Random(2)

    def start() -> Spawned:
        return spawn.worker(dsn, "random_dag", "gated", lease=3, max_rescues=1000)

    async def busy() -> list[Spawned]:
        pids = await pg.fetchval(BUSY)
        return [worker for worker in alive if worker.pid in pids]

    # Somebody is always at this one, however fast the others are.
    lasting = await app.enqueue(held)
    handle = await app.enqueue_many(random_dag, over=PARTITIONS)
    alive = [start() for _ in range(3)]
    for killed in range(1, 7):
        await eventually(partial(has_succeeded, pg, 20 * killed))
        victim = chance.choice(await eventually(busy))
        alive.remove(victim)
        victim.kill()
        alive.append(start())
    await eventually(busy)
    for worker in alive:
        worker.kill()
    # It has cost several workers their life: others like it would wait for it, one at a time.
    for attempt in range(1, 100):
        ledger.open_gate(f"held-{attempt}")
    alive = [start(), start()]
    await until_ended(pg, handle.run_id, lasting.run_id)
    # The dead who were at nothing are forgotten, too, if perhaps later than the others.
    await eventually(lambda: pg.fetchval("SELECT count(*) = 2 FROM flowstone.workers"))

    rows = await assert_completed_once(pg, ledger, handle.run_id, lasting.run_id)
    assert len(rows) == ASSETS * len(PARTITIONS) + 1
    assert len(ledger.starts()) > len(rows), "nobody died at work"
    assert await pg.fetchval("SELECT max(rescues) FROM flowstone.flowstone_materializations") > 0
    for worker in alive:
        worker.ask_to_stop()
    assert [await worker.exit_code() for worker in alive] == [0, 0]
    await assert_no_worker_is_left(pg)


async def has_succeeded(pg: asyncpg.Connection, count: int) -> bool:
    return bool(await pg.fetchval(SUCCEEDED) >= count)


async def test_an_asset_that_kills_its_workers_fails_and_the_others_go_on(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    fatal = await app.enqueue(deadly)
    others = []
    for death in (1, 2):
        worker = spawn.worker(dsn, "gated", lease=LONG, max_rescues=1)
        others.append(await app.enqueue(plain, force=True))
        await until_ended(pg, others[-1].run_id)
        await eventually(partial(ledger.has_starts, 2 * death))
        ledger.open_gate(f"deadly-{death}")
        await worker.killed_itself()
        await give_up(pg, worker, max_rescues=1)
    last = spawn.worker(dsn, "gated", lease=LONG, max_rescues=1)
    with pytest.raises(RunFailedError, match="died 2 times"):
        await fatal.result(timeout=60)
    others.append(await app.enqueue(plain, force=True))
    await until_ended(pg, others[-1].run_id)

    await assert_completed_once(pg, ledger, *(run.run_id for run in others))
    assert len(ledger.starts(deadly.full_name)) == 2
    assert not last.has_ended


async def test_what_runs_beside_an_asset_that_kills_its_workers_is_not_harmed(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    def start() -> Spawned:
        return spawn.worker(dsn, "poison", slots=24, lease=LONG, max_rescues=3)

    fatal = await app.enqueue(aborting)
    others = await app.enqueue_many([innocent], over=[str(number) for number in range(10)])
    # One at a time: it takes all that is left, and whatever it was at dies with it.
    alive = [start()]

    async def has_ended() -> bool:
        for place, worker in enumerate(alive):
            if worker.has_ended:
                await worker.killed_itself()
                await give_up(pg, worker, max_rescues=3)
                alive[place] = start()
        return await pg.fetchval(ENDED, [fatal.run_id, others.run_id]) is True

    await eventually(has_ended, within=150)  # one process after the other

    with pytest.raises(RunFailedError, match="died 4 times"):
        await fatal.result()
    assert len(ledger.starts(aborting.full_name)) == 4
    await assert_completed_once(pg, ledger, others.run_id)
    rescues = await pg.fetchval(
        "SELECT max(rescues) FROM flowstone.flowstone_materializations WHERE run_id = $1",
        others.run_id,
    )
    assert rescues > 0, "nobody was harmed in the first place"
