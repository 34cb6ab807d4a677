"""What a router has decided holds, whatever becomes of the process that decided it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.plugins.routing import RoutingCoordinator
from tests.scenarios.conftest import ledger, spawn
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, running_jobs_locked
from tests.scenarios.pipelines.routed import arrived, left, right, routed, way
from tests.scenarios.spawned import Spawner

__all__ = ["ledger", "spawn"]

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%flowstone_turn_v1%'
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    """The application of the one who enqueues; it works on nothing itself."""
    async with FlowStone(routed, dsn=dsn) as app:
        yield app


@pytest.mark.parametrize("fate", ["killed", "paused"])
async def test_a_worker_that_is_gone_between_deciding_and_settling_has_decided(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger, fate: str
) -> None:
    handle = await app.enqueue(arrived)
    first = spawn.worker(dsn, "routed", lease=LONG)
    await eventually(lambda: ledger.has_starts(1))

    async with running_jobs_locked(dsn):
        ledger.open_gate("decide")
        await eventually(lambda: pg.fetchval("SELECT count(*) = 1 FROM flowstone.router_decisions"))
        await eventually(lambda: behind_a_lock(pg, "flowstone_turn_v1"))
        first.kill() if fate == "killed" else first.pause()
        await pg.fetch(CUT)  # or the server would settle for it all the same
    status = "SELECT status FROM flowstone.materializations WHERE asset = $1"
    assert await pg.fetchval(status, way.full_name) == "running"
    ledger.open_gate("turned")
    await give_up(pg, first)
    second = spawn.worker(dsn, "routed", lease=LONG)

    assert await handle.result(timeout=60) == ["left", "left"]
    if fate == "paused":
        first.go_on()
        await eventually(lambda: "given up" in first.output() or "taken over" in first.output())
    (decision,) = await app.coordinator(RoutingCoordinator).decisions(handle.run_id)
    assert decision.selected_branch == "left"
    assert len(ledger.starts(way.full_name)) == 1
    assert [it.pid for it in ledger.starts(left.full_name)] == [second.pid]
    assert ledger.starts(right.full_name) == []
