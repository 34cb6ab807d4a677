"""What one row can do to a worker: nothing, whatever is in it."""

import asyncpg
import pytest

from flowstone import FlowStone, RunFailedError
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, running_jobs_locked
from tests.scenarios.pipelines.batch import batch, item
from tests.scenarios.pipelines.gated import held, plain
from tests.scenarios.spawned import Spawner

MALFORMED = [
    {"args": "{}"},
    {"args": "[1, 2]"},
    {"args": '{"run_id": "x", "asset": "gated.plain", "partition": null, "more": {}}'},
    {"args": '{"run_id": 1, "asset": "\'; DROP TABLE flowstone_runs; --", "partition": ""}'},
]


async def test_an_asset_that_this_code_does_not_know_is_left_to_newer_workers(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    unknown = await app.enqueue(item, partition="a")
    old = spawn.worker(dsn, "gated", slots=1)
    await eventually(lambda: "unknown to this worker" in old.output())
    known = await app.enqueue(plain)
    await until_ended(pg, known.run_id)

    (row,) = await pg.fetch(
        "SELECT status, attempt, not_before > now() AS is_later FROM flowstone.materializations"
        " WHERE run_id = $1",
        unknown.run_id,
    )
    assert tuple(row) == ("ready", 0, True)
    assert not old.has_ended

    # It would look at it once more, and hand it back for as long as before.
    old.ask_to_stop()
    assert await old.exit_code() == 0
    await pg.execute("UPDATE flowstone.procrastinate_jobs SET scheduled_at = now()")
    spawn.worker(dsn, "batch", slots=1)
    assert await unknown.result(timeout=60) == {"slice": "a"}


async def test_jobs_that_nobody_planned_are_failed_and_the_rest_goes_on(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    ids = [
        await pg.fetchval(
            "INSERT INTO flowstone.procrastinate_jobs (queue_name, task_name, args)"
            " VALUES ('default', 'flowstone:materialize', $1::jsonb) RETURNING id",
            job["args"],
        )
        for job in MALFORMED
    ]
    handle = await app.enqueue(plain)
    worker = spawn.worker(dsn, "gated", slots=1)
    await until_ended(pg, handle.run_id)

    await assert_completed_once(pg, ledger, handle.run_id)
    found = await pg.fetch(
        "SELECT status::text, attempts FROM flowstone.procrastinate_jobs WHERE id = ANY ($1)", ids
    )
    assert [tuple(row) for row in found] == [("failed", 1)] * len(ids)
    assert worker.output().count("belongs to no materialization") == len(ids)


async def test_a_job_that_was_moved_to_another_queue_runs_there(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    moved = await app.enqueue(plain, queue="elsewhere")
    await pg.execute("UPDATE flowstone.procrastinate_jobs SET queue_name = 'default'")
    worker = spawn.worker(dsn, "gated", slots=1)
    await until_ended(pg, moved.run_id)

    await assert_completed_once(pg, ledger, moved.run_id)
    assert not worker.has_ended


async def test_a_value_that_the_database_refuses_fails_alone(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    await pg.execute(
        "ALTER TABLE flowstone.flowstone_values"
        " ADD CONSTRAINT no_poison CHECK (value::text NOT LIKE '%poison%')"
    )
    slices = [f"s{number:02}" for number in range(24)]
    slices[13] = "poison"
    handle = await app.enqueue_many(batch, over=slices)
    worker = spawn.worker(dsn, "batch", slots=40)
    with pytest.raises(RunFailedError) as raised:
        await handle.result(timeout=60)

    (failure,) = raised.value.failures
    assert (failure.asset, failure.partition) == (item.full_name, "poison")
    assert "no_poison" in str(failure.error)
    counts = await pg.fetch(
        "SELECT succeeded, failed, upstream_failed, total FROM flowstone.run_progress"
    )
    assert [tuple(row) for row in counts] == [(46, 1, 1, 48)]
    again = await app.enqueue(item, partition="later")
    assert await again.result(timeout=60) == {"slice": "later"}
    assert not worker.has_ended


async def test_a_row_that_somebody_locks_waits_alone(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    first = await app.enqueue(held)
    spawn.worker(dsn, "gated", slots=8)
    await eventually(lambda: ledger.starts())
    others = []
    async with running_jobs_locked(dsn):
        ledger.open_gate("held-1")
        await eventually(lambda: behind_a_lock(pg, "flowstone_turn_v1"))
        for _ in range(20):
            others.append((await app.enqueue(plain, force=True)).run_id)
            await until_ended(pg, others[-1])
        assert not (await first.status()).status.is_terminal
    await until_ended(pg, first.run_id)

    await assert_completed_once(pg, ledger, first.run_id, *others)
    assert len(ledger.starts(held.full_name)) == 1
