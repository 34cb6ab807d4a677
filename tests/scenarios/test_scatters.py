"""Scatters whose workers are killed at every step, and that several processes work on."""

import json
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from flowstone import FlowStone
from tests.plugins.conftest import template_database  # with the tables of plugins
from tests.scenarios.consistency import until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.scattered import ITEMS, LIMIT, scattered
from tests.scenarios.spawned import Spawner

__all__ = ["template_database"]

SETTLED = "SELECT item::text::integer AS item FROM flowstone.scatter_items WHERE status = 1"
STANDS = """
SELECT
    b.total, b.completed, b.failed,
    (SELECT count(*) FROM flowstone.scatter_items) AS items,
    (SELECT count(*) FROM flowstone.scatter_items WHERE status = 1) AS with_result,
    (SELECT count(*) FROM flowstone.scatter_chunks) AS chunks
FROM flowstone.scatter_barriers b
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone([scattered], dsn=dsn) as app:
        yield app


def lines(ledger: Ledger, name: str) -> list[str]:
    path = ledger.folder / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


async def test_killed_at_every_step_no_item_is_run_again_after_it_was_settled(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue("scattered.counted")
    seen: list[tuple[int, set[int]]] = []

    async def has_settled(count: int) -> bool:
        return len(await pg.fetch(SETTLED)) >= count

    for count in (100, 1200, 2400):
        worker = spawn.worker(dsn, "scattered", lease=1)
        await eventually(partial(has_settled, count))
        worker.kill()
        settled = {row["item"] for row in await pg.fetch(SETTLED)}
        seen.append((len(lines(ledger, "items")), settled))
    worker = spawn.worker(dsn, "scattered", lease=1)
    await eventually(lambda: lines(ledger, "gathered"))
    worker.kill()
    ledger.open_gate("gather")
    spawn.worker(dsn, "scattered", lease=1)
    await until_ended(pg, handle.run_id)

    assert await handle.result(timeout=5) == sum(range(ITEMS))
    run = [int(line) for line in lines(ledger, "items")]
    for began_at, settled in seen:
        assert settled.isdisjoint(run[began_at:])
    stands = await pg.fetchrow(STANDS)
    assert tuple(stands) == (ITEMS, ITEMS, 0, ITEMS, ITEMS, 0)


async def test_a_limit_holds_over_processes_and_is_made_use_of(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    for _ in range(3):
        spawn.worker(dsn, "scattered")
    handle = await app.enqueue("scattered.limited")
    await until_ended(pg, handle.run_id)

    running, most = 0, 0
    for line in lines(ledger, "limited"):
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == LIMIT
    value = json.loads(await pg.fetchval("SELECT value FROM flowstone.flowstone_values"))
    assert value == {"total": 160, "completed": 160, "failed": 0}
