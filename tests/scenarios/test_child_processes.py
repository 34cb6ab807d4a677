"""Child processes die, their workers die, and what they worked on is not lost."""

import os
import signal
from functools import partial
from pathlib import Path

import asyncpg

from flowstone import FlowStone
from tests.scenarios.consistency import (
    assert_completed_once,
    assert_no_worker_is_left,
    until_ended,
)
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger, Start
from tests.scenarios.pipelines.heavy import after, beside, counted, stuck_at_first
from tests.scenarios.spawned import Spawner


def is_gone(pid: int) -> bool:
    """Whether a process has ended; who should have waited for it may be dead, too."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before it was read, or meanwhile
        return True


async def started(ledger: Ledger, asset: str, attempt: int = 1) -> Start:
    """Wait for an attempt to begin."""

    def begun() -> list[Start]:
        return [it for it in ledger.starts(asset) if it.attempt == attempt]

    (start,) = await eventually(begun)
    return start


async def test_a_killed_child_takes_nothing_with_it_but_its_attempt(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    worker = spawn.worker(dsn, "heavy", child_processes=2)
    runs = [await app.enqueue(after), await app.enqueue(beside)]
    victim = await started(ledger, counted.full_name)
    other = await started(ledger, beside.full_name)

    os.kill(victim.pid, signal.SIGKILL)
    again = await started(ledger, counted.full_name, attempt=2)
    for gate in ("counted-2", "beside-1"):
        ledger.open_gate(gate)
    for run in runs:
        await until_ended(pg, run.run_id)

    await assert_completed_once(pg, ledger, *(run.run_id for run in runs))
    assert len({victim.pid, other.pid, again.pid, worker.pid}) == 4
    assert len(ledger.starts(beside.full_name)) == 1
    worker.ask_to_stop()
    assert await worker.exit_code() == 0
    assert all(map(is_gone, (other.pid, again.pid)))


async def test_a_killed_worker_takes_its_children_along_whatever_they_do(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    worker = spawn.worker(dsn, "heavy", lease=LONG, child_processes=2)
    runs = [await app.enqueue(stuck_at_first), await app.enqueue(after)]
    children = [
        await started(ledger, stuck_at_first.full_name),
        await started(ledger, counted.full_name),
    ]

    worker.kill()
    await give_up(pg, worker)
    for child in children:
        await eventually(partial(is_gone, child.pid))

    second = spawn.worker(dsn, "heavy", lease=LONG)
    ledger.open_gate("counted-2")
    for run in runs:
        await until_ended(pg, run.run_id)
    await assert_completed_once(pg, ledger, *(run.run_id for run in runs))
    second.ask_to_stop()
    assert await second.exit_code() == 0
    await assert_no_worker_is_left(pg)


async def test_a_stop_that_reaches_everybody_lets_a_child_finish(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    worker = spawn.worker(dsn, "heavy", shutdown_timeout=30)
    run = await app.enqueue(beside)
    child = await started(ledger, beside.full_name)

    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child.pid, number)
    worker.ask_to_stop()
    await eventually(lambda: "asked to stop" in worker.output())
    ledger.open_gate("beside-1")

    assert await worker.exit_code() == 0
    await assert_completed_once(pg, ledger, run.run_id)
    assert len(ledger.starts()) == 1
    await eventually(partial(is_gone, child.pid))
