"""SIGTERM: what runs ends in its time, or goes back at once and to the next worker."""

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.status import Status
from tests.scenarios.consistency import assert_completed_once, assert_no_worker_is_left, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import held, held_in_thread, plain
from tests.scenarios.pipelines.hanging import deaf
from tests.scenarios.pipelines.made import Made
from tests.scenarios.spawned import Spawner

LONG = 600.0
"""A lease that is not over before the test is: nothing here is waited for as for the dead."""

in_both_ways = pytest.mark.parametrize("asset", [held, held_in_thread], ids=["async", "thread"])


@in_both_ways
async def test_what_runs_may_end_and_nothing_more_is_taken(
    asset: Asset[..., Made],
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    handle = await app.enqueue(asset)
    worker = spawn.worker(dsn, "gated", lease=LONG, shutdown_timeout=30)
    await eventually(lambda: ledger.starts())

    worker.ask_to_stop()
    await eventually(lambda: "asked to stop" in worker.output())
    later = await app.enqueue(plain)
    ledger.open_gate(f"{asset.name}-1")
    assert await worker.exit_code() == 0

    await assert_no_worker_is_left(pg)
    record = await later.status()
    assert record.counts == {Status.READY: 1}
    (start,) = ledger.starts()
    spawn.worker(dsn, "gated", lease=LONG)
    await until_ended(pg, later.run_id)
    rows = await assert_completed_once(pg, ledger, handle.run_id, later.run_id)
    assert start.token in {row["value"]["token"] for row in rows.values()}


@in_both_ways
async def test_what_does_not_end_in_time_goes_to_another_worker_at_once(
    asset: Asset[..., Made],
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    handle = await app.enqueue(asset)
    first = spawn.worker(dsn, "gated", lease=LONG, shutdown_timeout=0.2)
    await eventually(lambda: ledger.starts())
    other = spawn.worker(dsn, "gated", lease=LONG, poll_interval=LONG)
    await eventually(lambda: pg.fetchval("SELECT count(*) = 2 FROM flowstone.workers"))

    first.ask_to_stop()
    await eventually(lambda: len(ledger.starts()) == 2)
    assert await first.exit_code() == 0
    ledger.open_gate(f"{asset.name}-1")
    await until_ended(pg, handle.run_id)

    (row,) = (await assert_completed_once(pg, ledger, handle.run_id)).values()
    assert (row["value"]["pid"], row["attempt"]) == (other.pid, 1)


async def test_a_thread_that_never_returns_keeps_no_process(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue(deaf)
    first = spawn.worker(dsn, "hanging", lease=LONG, shutdown_timeout=0.2)
    await eventually(lambda: ledger.starts())

    first.ask_to_stop()

    assert await first.exit_code() == 0
    spawn.worker(dsn, "hanging", lease=LONG)
    await until_ended(pg, handle.run_id)
    await assert_completed_once(pg, ledger, handle.run_id)
