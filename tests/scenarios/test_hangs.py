"""A body that holds the event loop: a moment costs nothing, and for good it costs its process."""

import re

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.asset import Asset
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import plain
from tests.scenarios.pipelines.hanging import endless, endless_in_c, momentary
from tests.scenarios.pipelines.made import Made
from tests.scenarios.spawned import Spawner

HAS_BEATEN = "SELECT heartbeat_at > $1 FROM flowstone.workers"


async def test_a_moment_is_named_and_costs_nothing(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue(momentary)
    worker = spawn.worker(dsn, "hanging", lease=6, hang_limit=200)
    await eventually(lambda: ledger.starts())
    since = await pg.fetchval("SELECT clock_timestamp()")
    await eventually(lambda: pg.fetchval(HAS_BEATEN, since))  # so nobody takes it for dead
    await eventually(lambda: "has held the event loop" in worker.output())
    ledger.open_gate("moment")
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)
    assert len(ledger.starts()) == 1
    (line,) = [it for it in worker.output().splitlines() if "has held the event loop" in it]
    assert f"hanging.momentary, run {handle.run_id}, has held" in line
    assert re.search(r"/hanging\.py:\d+ in momentary", line)


@pytest.mark.parametrize(
    ("asset", "words"),
    [(endless, "which is past the hang limit"), (endless_in_c, "Timeout (")],
    ids=["python", "c"],
)
async def test_past_the_limit_the_process_ends_and_another_goes_on(
    asset: Asset[..., Made],
    words: str,
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    handle = await app.enqueue(asset)
    worker = spawn.worker(dsn, "hanging", "gated", lease=LONG, hang_limit=1.5)
    await eventually(lambda: ledger.starts())
    await worker.killed_itself()
    assert words in worker.output()
    assert "hanging.py" in worker.output(), "where it hung"
    await give_up(pg, worker)
    other = spawn.worker(dsn, "hanging", "gated", lease=LONG, hang_limit=20)
    await until_ended(pg, handle.run_id, (await app.enqueue(plain)).run_id)

    (row,) = (await assert_completed_once(pg, ledger, handle.run_id)).values()
    assert (row["attempt"], row["value"]["pid"]) == (2, other.pid)
