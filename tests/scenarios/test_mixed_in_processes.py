"""A run with everything that decides and waits in it, whose worker dies at every step."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.plugins.checkpoints import approve, list_approvals
from flowstone.plugins.signal_gate import signal
from tests.plugins.conftest import template_database  # a fixture: with the tables of plugins
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.mixed import TOKEN, Confirmation, booked, mixed
from tests.scenarios.spawned import Spawned, Spawner

__all__ = ["template_database"]

pytestmark = pytest.mark.timeout(300)  # seven workers start, one after the other

STOOD = "SELECT asset, status FROM flowstone.materializations WHERE run_id = $1"
LEFT = """
SELECT (SELECT count(*) FROM flowstone.waiting) + (SELECT count(*) FROM flowstone.flowstone_waits)
    + (SELECT count(*) FROM flowstone.procrastinate_jobs WHERE status IN ('todo', 'doing'))
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    """The application of the one who enqueues, signals and approves; it works on nothing."""
    async with FlowStone(mixed, dsn=dsn) as app:
        yield app


async def test_a_worker_that_dies_at_every_step_leaves_nothing_undone_and_nothing_done_twice(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue(booked)
    worker = spawn.worker(dsn, "mixed", lease=LONG)

    async def replaced_within(step: str) -> Spawned:
        """Let the worker die in the middle of a step, and another take it over."""
        await eventually(lambda: ledger.is_open(f"in-{step}"))
        worker.kill()
        await give_up(pg, worker)
        ledger.open_gate(f"out-{step}")
        return spawn.worker(dsn, "mixed", lease=LONG)

    async def waits_for(what: str) -> None:
        waiting = "SELECT EXISTS (SELECT FROM flowstone.waiting WHERE waiting_on = $1)"
        await eventually(lambda: pg.fetchval(waiting, what))

    for step in ("desk", "priced"):
        worker = await replaced_within(step)
    await waits_for("signal")
    await signal(app, TOKEN, Confirmation("Ada"))
    for step in ("on_confirmed", "bulk"):
        worker = await replaced_within(step)
    await waits_for("approval")
    worker.kill()
    (asked,) = await list_approvals(app)
    await approve(app, asked.id, by="ann", groups=["risk"])
    worker = spawn.worker(dsn, "mixed", lease=LONG)
    worker = await replaced_within("booked")

    assert await handle.result(timeout=60) == "60, confirmed by Ada"
    stood = {it["asset"]: it["status"] for it in await pg.fetch(STOOD, handle.run_id)}
    assert stood.pop("mixed.single") == "skipped"
    assert set(stood.values()) == {"succeeded"}
    assert not ledger.is_open("in-single")
    assert await pg.fetchval("SELECT count(*) FROM flowstone.router_decisions") == 1
    assert await pg.fetchval(LEFT) == 0
