"""Two applications in two schemas of one database: the same queues, and the same job numbers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.contracts.store import WorkerInfo
from flowstone.core.status import RunStatus
from flowstone.engine import triggers
from flowstone.engine.schema import migrate
from flowstone.engine.statements import quoted
from flowstone.engine.table_sizes import table_sizes
from tests.scenarios.conftest import PIPELINES
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import after_held, held, plain
from tests.scenarios.spawned import Spawner

OTHER = """Ö "d'D; --%s"""
"""As odd as a name can be; and its notifications go to a channel of that name."""

NEVER = 3600.0
"""A poll that does not come: what is delivered, LISTEN has delivered."""


@pytest.fixture
async def other(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    """The application of the other schema; ``app`` is in ``flowstone``."""
    await asyncio.to_thread(migrate, dsn, OTHER)
    async with FlowStone(PIPELINES, dsn=dsn, schema=OTHER) as other:
        yield other


async def job_of(app: FlowStone, run_id: int) -> int:
    (made,) = await app.store.materializations(run_id)
    return made.id


async def test_work_of_the_same_number_is_done_by_its_own_workers_and_stopped_alone(
    app: FlowStone, other: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    ours = spawn.worker(dsn, "gated", poll_interval=NEVER, lease=600)
    theirs = spawn.worker(dsn, "gated", schema=OTHER, poll_interval=NEVER, lease=600)
    mine, yours = await app.enqueue(held), await other.enqueue(held)
    assert mine.run_id == yours.run_id
    assert await job_of(app, mine.run_id) == await job_of(other, yours.run_id)
    await eventually(lambda: ledger.has_starts(2))
    assert {start.pid for start in ledger.starts()} == {ours.pid, theirs.pid}

    await mine.cancel()
    assert (await mine.wait(timeout=60)).status is RunStatus.CANCELLED

    # Theirs hears of it too, as the channel of the queue belongs to both, and before the next job.
    await (await other.enqueue(plain)).result(timeout=60)
    assert (await yours.status()).status is RunStatus.RUNNING
    ledger.open_gate("held-1")
    made = await yours.result(timeout=60)
    assert made.attempt == 1
    starts = ledger.starts(held.full_name)
    assert {start.token for start in starts if start.pid == theirs.pid} == {made.token}


async def test_an_abort_that_is_announced_for_a_number_is_looked_up_before_it_is_obeyed(
    app: FlowStone, other: FlowStone, dsn: str, pg: asyncpg.Connection, ledger: Ledger
) -> None:
    """As procrastinate says it, on the channel that is everybody's."""
    handle = await app.enqueue(held)
    worker = app.worker()
    working = asyncio.create_task(worker.run())
    await eventually(lambda: ledger.has_starts(1))
    job = await job_of(app, handle.run_id)
    asked = asyncio.Event()
    aborts = app.store.aborts

    async def heard(worker_id: int) -> object:
        found = await aborts(worker_id)
        asked.set()
        return found

    app.store.aborts = heard  # type: ignore[assignment,method-assign]  # only to know that it heard
    await pg.execute(
        "SELECT pg_notify('procrastinate_queue_v1#default',"
        f' \'{{"type": "abort_job_requested", "job_id": {job}}}\')'
    )
    await asyncio.wait_for(asked.wait(), 60)
    ledger.open_gate("held-1")

    assert (await handle.result(timeout=60)).attempt == 1
    worker.stop()
    await working


async def test_a_run_is_followed_and_waited_for_in_its_own_schema(
    app: FlowStone, other: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    async def followed() -> list[str]:
        return [event.status.value async for event in other.subscribe(run=yours.run_id)]

    mine, yours = await app.enqueue(held), await other.enqueue(held)
    following = asyncio.create_task(followed())
    waiting = asyncio.create_task(yours.wait())
    spawn.worker(dsn, "gated")
    await eventually(lambda: ledger.has_starts(1))
    ledger.open_gate("held-1")
    await mine.result(timeout=60)
    assert not any(it.done() for it in (following, waiting))

    spawn.worker(dsn, "gated", schema=OTHER)
    assert (await asyncio.wait_for(waiting, 60)).status is RunStatus.SUCCEEDED
    assert (await asyncio.wait_for(following, 60))[-1] == "succeeded"


async def test_the_dead_of_one_are_taken_over_there(
    app: FlowStone,
    other: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    dying = spawn.worker(dsn, "gated", schema=OTHER, lease=600)
    handle = await other.enqueue(after_held)
    await eventually(lambda: ledger.has_starts(1))
    dying.kill()
    await pg.execute(f"UPDATE {quoted(OTHER)}.flowstone_workers SET heartbeat_at = 'epoch'")
    info = WorkerInfo("here", 1, ["default"], timedelta(hours=1))
    await app.store.register_worker(info)
    await eventually(lambda: dead(other))

    assert await app.store.rescue(max_rescues=9) == []
    (rescued,) = await other.store.rescue(max_rescues=9)
    assert len(rescued.materialization_ids) == 1

    spawn.worker(dsn, "gated", schema=OTHER)
    ledger.open_gate("held-1")
    ledger.open_gate("held-2")
    assert await handle.result(timeout=60)


async def dead(app: FlowStone) -> bool:
    return any("dead?" in it.message for it in (await app.health()).findings)


async def test_each_has_leaders_health_sizes_and_pruning_of_its_own(
    app: FlowStone, other: FlowStone, dsn: str, ledger: Ledger
) -> None:
    hour = timedelta(hours=1)
    assert await app.store.hold_lease("pruning", "a", hour)
    assert await other.store.hold_lease("pruning", "b", hour)
    await app.store.register_worker(WorkerInfo("ours.example", 1, ["default"], hour))
    await app.run(plain)

    messages = [it.message for it in (await other.health()).findings]
    assert (await other.health()).ok
    assert not any("ours.example" in message for message in messages)
    rows = {it.table: it.row_count for it in table_sizes(dsn, OTHER)}
    assert (rows["flowstone_runs"], rows["procrastinate_jobs"]) == (0, 0)
    assert await other.store.runs() == []
    assert not await other.exists(plain)


async def test_each_chooses_its_triggers(
    app: FlowStone, other: FlowStone, dsn: str, pg: asyncpg.Connection, ledger: Ledger
) -> None:
    await asyncio.to_thread(triggers.restore, dsn, OTHER)

    assert triggers.status(dsn) is triggers.TriggerSet.BATCHED
    assert triggers.status(dsn, OTHER) is triggers.TriggerSet.STOCK
    assert (await other.run(plain)).attempt == (await app.run(plain)).attempt == 1
    counts = await pg.fetchrow(
        "SELECT (SELECT count(*) FROM flowstone.procrastinate_events) AS ours,"
        f" (SELECT count(*) FROM {quoted(OTHER)}.procrastinate_events) AS theirs"
    )
    assert counts["ours"] == counts["theirs"] > 0
