"""Parallel assets among processes that race, and that die between a branch's end and the join."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core import partition as partitions
from tests.plugins.conftest import template_database  # with the tables of plugins
from tests.scenarios.consistency import LEFT_OVER, until_ended
from tests.scenarios.deaths import give_up
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.branches import branches
from tests.scenarios.spawned import Spawner

__all__ = ["template_database"]

STEPS = (
    "before_create",
    "after_create",
    "after_schedule",
    "before_settle",
    "after_settle",
    "after_join",
)
TIMES = 1
"""How often a worker dies at each step."""

ROUNDS = 60
"""Of ends of branches against their timeouts."""

OUTCOMES = """
SELECT
    m.partition, m.status, v.value #>> '{}' AS value, b.status AS branch, f.status AS final,
    r.status AS run
FROM flowstone.materializations m
JOIN flowstone.runs r USING (run_id)
JOIN flowstone.parallel_branches b ON b.materialization_id = m.materialization_id
JOIN flowstone.materializations f ON f.materialization_id = b.branch_materialization_id
LEFT JOIN flowstone.flowstone_values v ON v.materialization_id = m.materialization_id
WHERE m.asset = 'branches.raced'
"""
NOTHING_LEFT = {"open_jobs": 0, "waits": 0, "values_of_nothing": 0}


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone(branches, dsn=dsn) as app:
        yield app


def happened(ledger: Ledger) -> Counter[tuple[str, str]]:
    """Count (what, partition)."""
    lines = (ledger.folder / "continued").read_text(encoding="utf-8").splitlines()
    told = (line.rsplit(" ", 1)[0].split(" ", 1) for line in lines)
    return Counter((what, partition) for what, partition in told)


async def test_whoever_dies_at_whatever_step_the_join_is_stored_once(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    names = [f"{step}-{number}" for step in STEPS for number in range(TIMES)]
    dying = [name.replace("-", " ") for name in names]
    handles = {it: await app.enqueue("branches.joined", partition=it) for it in dying}
    workers = [spawn.start("branch_worker", {"dsn": dsn}) for _ in range(2)]

    async def replace_the_dead() -> None:
        while True:
            for place, worker in enumerate(workers):
                if worker.has_ended:
                    await worker.killed_itself()
                    await give_up(pg, worker, max_rescues=100)
                    workers[place] = spawn.start("branch_worker", {"dsn": dsn})
            await asyncio.sleep(0.02)

    nurse = asyncio.create_task(replace_the_dead())
    try:
        for partition, handle in handles.items():
            assert await handle.result(timeout=150) == [f"left {partition}", f"right {partition}"]
    finally:
        nurse.cancel()
        await asyncio.gather(nurse, return_exceptions=True)

    assert all(ledger.is_open(f"died-{partition}") for partition in dying)
    (left,) = await pg.fetch(LEFT_OVER)
    assert dict(left) == NOTHING_LEFT
    successes = "SELECT count(*) FROM flowstone.procrastinate_events WHERE type = 'succeeded'"
    assert await pg.fetchval(successes) == len(dying) * len({"source", "left", "right", "joined"})


async def test_of_a_branch_s_end_and_its_timeout_one_wins(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    for _ in range(4):
        spawn.worker(dsn, "branches", slots=10)
    rounds: list[str] = []

    async def play(count: int) -> Collection[str]:
        """Return how branches have ended so far, after so many rounds more."""
        more = [f"r{number}" for number in range(len(rounds), len(rounds) + count)]
        rounds.extend(more)
        handles = [await app.enqueue("branches.after", partition=it) for it in more]
        await until_ended(pg, *(it.run_id for it in handles))
        return {row["branch"] for row in await pg.fetch(OUTCOMES)}

    ended = await play(ROUNDS)
    while len(ended) < 2:  # a slow machine that has all of them to do lets nobody be in time
        ended = await play(2)

    found = await pg.fetch(OUTCOMES)
    assert len(found) == len(rounds)
    for row in found:
        partition = partitions.decode(row["partition"], str)
        expected = f"quick {partition}" if row["branch"] == "success" else "late"
        assert (row["status"], row["run"], row["value"]) == ("succeeded", "succeeded", expected)
        assert row["final"] == "succeeded" if row["branch"] == "success" else True
    assert ended == {"success", "failed"}
    joins = happened(ledger)
    assert all(joins["raced", partition] == 1 for partition in rounds)
    (left,) = await pg.fetch(LEFT_OVER)
    assert dict(left) == NOTHING_LEFT
