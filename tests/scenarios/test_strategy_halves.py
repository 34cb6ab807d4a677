"""A strategy starts in one process, is woken by a second and resumed by a third."""

import asyncpg

from flowstone import FlowStone
from flowstone.core.handle import RunHandle
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.halves import STATE, behind, waiting
from tests.scenarios.spawned import Spawned, Spawner

PAYLOAD = {"approved": True, "by": "Żaneta", "amounts": [1, 2]}


async def started_and_woken(
    app: FlowStone, dsn: str, spawn: Spawner
) -> tuple[RunHandle[dict[str, object]], Spawned]:
    """Return a run that waits no longer, and the process that started it, which is gone."""
    handle = await app.enqueue(behind)
    first = spawn.worker(dsn, "halves", drain=True)
    assert await first.exit_code() == 0
    (wait,) = await handle.waits()
    assert (wait.asset, wait.on) == (waiting.full_name, "scenario")

    rows = await app.store.materializations(handle.run_id)
    (id_,) = [row.id for row in rows if row.key.asset == waiting.full_name]
    waker = spawn.start("waker", {"dsn": dsn, "id": id_, "payload": PAYLOAD})
    assert await waker.exit_code() == 0
    return handle, first


def resumed(ledger: Ledger, first: Spawned, then: Spawned, *, attempt: int) -> object:
    (start,) = ledger.starts(waiting.full_name)
    return {
        "behind": {
            "on": "scenario",
            "state": {**STATE, "token": start.token, "started_by": first.pid},
            "payload": PAYLOAD,
            "timed_out": False,
            "attempt": attempt,
            "resumed_by": then.pid,
        }
    }


async def test_a_wait_is_resumed_where_nothing_of_its_start_is_left(
    app: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    ledger.open_gate("resume-1")

    handle, first = await started_and_woken(app, dsn, spawn)
    second = spawn.worker(dsn, "halves", drain=True)

    assert await handle.result(timeout=60) == resumed(ledger, first, second, attempt=1)
    assert await second.exit_code() == 0


async def test_a_worker_that_dies_as_it_resumes_takes_nothing_of_the_wake_up_with_it(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle, first = await started_and_woken(app, dsn, spawn)
    second = spawn.worker(dsn, "halves", lease=LONG)
    await eventually(lambda: ledger.is_open("resuming-1"))
    second.kill()
    await give_up(pg, second)
    third = spawn.worker(dsn, "halves", lease=LONG)
    ledger.open_gate("resume-2")

    assert await handle.result(timeout=60) == resumed(ledger, first, third, attempt=2)
