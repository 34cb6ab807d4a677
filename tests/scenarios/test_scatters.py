"""Scatters whose workers are killed, paused, hung and stopped, and that several processes share."""

import random
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from flowstone import FlowStone
from tests.plugins.conftest import template_database  # with the tables of plugins
from tests.scatters.audit import lines, violations
from tests.scatters.kills import CHUNK, GATHERING, INSERTING, SETTLING, Killing
from tests.scatters.limits import measured
from tests.scenarios.consistency import until_ended
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.scattered import ITEMS, scattered
from tests.scenarios.spawned import Spawner

__all__ = ["template_database"]

DONE = "SELECT count(*) FROM flowstone.scatter_items WHERE status = 1"
STANDS = """
SELECT
    b.status, b.total, b.completed, b.failed,
    (SELECT count(*) FROM flowstone.scatter_items WHERE status = 1) AS with_result,
    (SELECT max(attempts) FROM flowstone.scatter_items) AS attempts
FROM flowstone.scatter_barriers b
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone([scattered], dsn=dsn) as app:
        yield app


async def has_done(pg: asyncpg.Connection, count: int) -> bool:
    return bool(await pg.fetchval(DONE) >= count)


async def test_killed_at_every_step_each_result_is_there_once(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue("scattered.counted")
    killing = Killing(dsn, ledger, spawn, ITEMS, random.Random(1))
    await killing.run([INSERTING, SETTLING, CHUNK, GATHERING], pg)
    await until_ended(pg, handle.run_id)

    assert await handle.result(timeout=60) == sum(range(ITEMS))
    assert len(killing.looks) == 4
    assert await violations(pg, ledger, ITEMS, killing.looks) == []


@pytest.mark.parametrize("name", ["limited", "rated"])
async def test_a_limit_holds_over_processes(
    name: str, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    use = await measured(name, dsn, ledger, spawn, 2)

    # How much of it is used, `python -m tests.scatters limits` measures, on a machine of its own.
    assert use.most <= use.allowed


@pytest.mark.parametrize("asset", ["one_is_long", "one_is_long_in_a_thread"])
async def test_an_item_that_lasts_for_hours_holds_up_neither_the_others_nor_its_worker(
    asset: str,
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
) -> None:
    handle = await app.enqueue(f"scattered.{asset}")
    first = spawn.worker(dsn, "scattered", lease=LONG, shutdown_timeout=0.5)
    others = (1500 if asset == "one_is_long" else 100) - 1
    await eventually(partial(has_done, pg, others))

    first.ask_to_stop()
    assert await first.exit_code() == 0
    second = spawn.worker(dsn, "scattered", lease=LONG)
    await eventually(lambda: f"0\t{second.pid}" in lines(ledger, "begun"))
    ledger.open_gate("long")
    await until_ended(pg, handle.run_id)

    begun = [it.split("\t")[0] for it in lines(ledger, "begun")]
    assert begun.count("0") == 2
    assert len(begun) == others + 2, "only the long one went back"
    stands = await pg.fetchrow(STANDS)
    assert tuple(stands) == ("completed", others + 1, others + 1, 0, others + 1, 1)


async def test_what_a_paused_worker_had_goes_to_others_and_its_results_are_refused(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue("scattered.one_is_long")
    paused = spawn.worker(dsn, "scattered", lease=LONG)
    await eventually(partial(has_done, pg, 1499))
    paused.pause()
    await give_up(pg, paused)
    other = spawn.worker(dsn, "scattered", lease=LONG)
    await eventually(lambda: f"0\t{other.pid}" in lines(ledger, "begun"))
    ledger.open_gate("long")
    await until_ended(pg, handle.run_id)
    settled = await pg.fetchval(
        "SELECT array_agg(xmin::text ORDER BY index) FROM flowstone.scatter_items"
    )
    paused.go_on()
    paused.ask_to_stop()
    assert await paused.exit_code() == 0

    assert [it.split("\t")[0] for it in lines(ledger, "begun")].count("0") == 2
    stands = await pg.fetchrow(STANDS)
    assert tuple(stands) == ("completed", 1500, 1500, 0, 1500, 1)
    now = await pg.fetchval(
        "SELECT array_agg(xmin::text ORDER BY index) FROM flowstone.scatter_items"
    )
    assert now == settled


async def test_an_item_that_holds_the_loop_costs_its_process_and_no_other_item(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue("scattered.one_holds_the_loop")
    hung = spawn.worker(dsn, "scattered", lease=LONG, hang_limit=2)
    await hung.killed_itself()
    await give_up(pg, hung)
    spawn.worker(dsn, "scattered", lease=LONG, hang_limit=20)
    await until_ended(pg, handle.run_id)

    stands = await pg.fetchrow(STANDS)
    assert tuple(stands) == ("completed", 300, 300, 0, 300, 1)
