"""Growth: the rows that are put in the way, and what is compared."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bench.growth import RATIOS
from bench.ours import growth
from bench.ours.growth_rows import Rows

DEPTH = "SELECT queue, due, later FROM flowstone.queue_depth ORDER BY queue"
OPEN_BY_COUNT = """
SELECT sum(open_count) FROM flowstone.flowstone_runs
UNION ALL
SELECT count(*) FROM flowstone.materializations WHERE finished_at IS NULL
"""
FINISHED = """
SELECT count(*) AS materializations, count(j.id) AS jobs, count(c.value) AS values,
    (SELECT count(*) FROM flowstone.procrastinate_events) AS events
FROM flowstone.materializations m
LEFT JOIN flowstone.procrastinate_jobs j ON j.id = m.materialization_id AND j.status = 'succeeded'
LEFT JOIN flowstone.current_values c ON c.materialization_id = m.materialization_id
WHERE m.status = 'succeeded'
"""


@pytest.fixture
async def rows(pg: asyncpg.Connection) -> Rows:
    rows = Rows(pg, "flowstone")
    await rows.prepare()
    return rows


async def test_what_is_planned_is_in_its_queue_at_its_time(
    rows: Rows, pg: asyncpg.Connection
) -> None:
    await rows.plan(3, pairs=True)
    await rows.plan(2, queue="other")
    await rows.plan(4, at=datetime.now(UTC) + timedelta(days=1))

    assert [tuple(row) for row in await pg.fetch(DEPTH)] == [("default", 3, 4), ("other", 2, 0)]
    assert [row[0] for row in await pg.fetch(OPEN_BY_COUNT)] == [12, 12]


async def test_the_second_of_a_pair_waits_for_the_first(rows: Rows, pg: asyncpg.Connection) -> None:
    await rows.plan(2, pairs=True)

    found = await pg.fetch(
        "SELECT id, status, inputs, dependents"
        " FROM flowstone.flowstone_materializations ORDER BY id"
    )
    (one, two, three, four) = (row["id"] for row in found)
    assert [tuple(row)[1:] for row in found] == [
        ("ready", [], [two]),
        ("pending", [one], []),
        ("ready", [], [four]),
        ("pending", [three], []),
    ]


async def test_what_has_finished_has_left_what_a_success_leaves(
    rows: Rows, pg: asyncpg.Connection
) -> None:
    await rows.finish(5)

    assert tuple((await pg.fetch(FINISHED))[0]) == (5, 5, 5, 15)


async def test_what_is_measured_is_what_is_compared(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("BACKLOG", 20), ("BATCH", 4), ("ROUNDS", 2)):
        monkeypatch.setattr(growth, name, small)

    measured = {
        it.metric
        for phase in (*growth.SCENARIOS, growth.NEVER_ANALYZED)
        for it in await growth.run_phase(phase, dsn, 30)
    }

    compared = {name for ratio in RATIOS for name in (ratio.metric, ratio.peer_metric)}
    assert measured == compared
