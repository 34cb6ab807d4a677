"""procrastinate's workers and commands on the same tables: no run is stranded, nothing is lost."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial

import asyncpg
import procrastinate
import pytest
from procrastinate.jobs import Job, Status

from flowstone import FlowStone
from flowstone.engine import triggers
from flowstone.engine.connector import AsyncpgConnector
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import after_held, held, plain
from tests.scenarios.pipelines.random_dag import random_dag
from tests.scenarios.spawned import Spawner

RUNS_KNOWN = """
SELECT bool_and(w.id IS NOT NULL)
FROM flowstone.procrastinate_jobs j
LEFT JOIN flowstone.procrastinate_workers w ON w.id = j.worker_id
WHERE j.status = 'doing'
"""

TAKEN = """
SELECT count(*) FROM flowstone.procrastinate_events
WHERE type = 'retried'
"""


@pytest.fixture(params=["batched", "stock"], autouse=True)
def triggers_of(request: pytest.FixtureRequest, dsn: str) -> str:
    if request.param == "stock":
        triggers.restore(dsn)
    return str(request.param)


@pytest.fixture
async def others(dsn: str, triggers_of: str) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(connector=AsyncpgConnector(dsn))
    async with app.open_async():
        yield app


async def test_a_stock_worker_that_takes_all_queues_loses_nothing_of_ours(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    stock = spawn.start("stock", {"dsn": dsn, "options": {"concurrency": 2}})
    await eventually(lambda: pg.fetchval("SELECT count(*) FROM flowstone.procrastinate_workers"))
    handle = await app.enqueue_many(random_dag.assets[:15])
    taken = "SELECT count(*) > 0 FROM flowstone.flowstone_interventions"
    await eventually(lambda: pg.fetchval(taken))
    worker = spawn.worker(dsn, "random_dag", slots=4)
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)
    assert await pg.fetchval(TAKEN) > 0, "it has taken nothing"
    assert "procrastinate worker --queues=" in worker.output()
    assert not stock.has_ended


async def test_what_a_stock_worker_died_with_is_done_by_ours(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue(plain)
    others = procrastinate.App(connector=AsyncpgConnector(dsn))
    async with others.open_async():  # as if it had been killed between fetching and failing
        await others.job_manager.fetch_job(None, await others.job_manager.register_worker())
    await pg.execute(
        "UPDATE flowstone.procrastinate_workers SET last_heartbeat = now() - interval '31 s'"
    )
    spawn.worker(dsn, "gated", lease=1)
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_what_is_finished_by_hand_leaves_its_slot(
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
    others: procrastinate.App,
    is_deleted: bool,
) -> None:
    spawn.worker(dsn, "gated", slots=1, lease=600, poll_interval=600.0)
    hanging = await app.enqueue(after_held)
    await eventually(partial(ledger.has_starts, 1))
    (start,) = ledger.starts()
    job = Job(id=start.materialization, queue="", lock=None, queueing_lock=None, task_name="")
    await others.job_manager.finish_job(job, Status.FAILED, delete_job=is_deleted)
    await until_ended(pg, hanging.run_id)
    other = await app.enqueue(plain)
    await until_ended(pg, other.run_id)

    await assert_completed_once(pg, ledger, other.run_id)
    assert len(ledger.starts(held.full_name)) == 1


async def test_what_is_retried_by_hand_while_it_hangs_runs_again_on_the_same_slot(
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
    others: procrastinate.App,
) -> None:
    ledger.open_gate("held-2")
    spawn.worker(dsn, "gated", slots=1, lease=600, poll_interval=600.0)
    handle = await app.enqueue(after_held)
    await eventually(partial(ledger.has_starts, 1))
    (start,) = ledger.starts()
    await others.job_manager.retry_job_by_id_async(start.materialization, datetime.now(UTC))
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)
    assert [it.attempt for it in ledger.starts(held.full_name)] == [1, 2]


async def test_what_is_to_be_aborted_is_stopped(
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
    others: procrastinate.App,
) -> None:
    spawn.worker(dsn, "gated", slots=1, lease=600, poll_interval=600.0)
    handle = await app.enqueue(after_held)
    await eventually(partial(ledger.has_starts, 1))
    (start,) = ledger.starts()
    assert await others.job_manager.cancel_job_by_id_async(start.materialization, abort=True)
    await until_ended(pg, handle.run_id)

    assert await others.job_manager.get_job_status_async(start.materialization) is Status.ABORTED
    found = "SELECT array_agg(status) FROM flowstone.materializations"
    assert await pg.fetchval(found) == ["cancelled", "cancelled"]


async def test_a_worker_whose_row_was_pruned_keeps_what_it_owns_and_registers_again(
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
    others: procrastinate.App,
) -> None:
    spawn.worker(dsn, "gated", lease=6)
    handle = await app.enqueue(after_held)
    await eventually(partial(ledger.has_starts, 1))
    assert len(await others.job_manager.prune_stalled_workers(-1)) == 1
    other = await app.enqueue(plain)  # by then it may still be one that procrastinate does not know
    await until_ended(pg, other.run_id)
    assert await app.store.reconcile() == []

    await eventually(lambda: pg.fetchval("SELECT count(*) FROM flowstone.procrastinate_workers"))
    await eventually(lambda: pg.fetchval(RUNS_KNOWN))
    assert list(await others.job_manager.get_stalled_jobs()) == []
    assert await app.store.reconcile() == []
    ledger.open_gate("held-1")
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id, other.run_id)
    assert [it.attempt for it in ledger.starts()] == [1, 1, 1]
