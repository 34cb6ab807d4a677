"""What has to hold in SQL and in the ledger once runs have ended, whatever happened to them."""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger

ENDED = "SELECT bool_and(status <> 'running') FROM flowstone.runs WHERE run_id = ANY ($1)"

MATERIALIZATIONS = """
SELECT
    m.materialization_id AS id, m.run_id, m.asset, m.partition, m.status, m.attempt, v.value,
    c.materialization_id AS current,
    j.status::text AS job_status,
    (SELECT count(*) FROM flowstone.procrastinate_events e
        WHERE e.job_id = j.id AND e.type = 'succeeded') AS completions,
    ARRAY(SELECT l.upstream_materialization_id FROM flowstone.lineage_edges l
        WHERE l.materialization_id = m.materialization_id) AS upstreams
FROM flowstone.materializations m
LEFT JOIN flowstone.flowstone_values v USING (materialization_id)
LEFT JOIN flowstone.flowstone_current c USING (asset, partition)
LEFT JOIN flowstone.procrastinate_jobs j ON j.id = m.materialization_id
WHERE m.run_id = ANY ($1)
ORDER BY 1
"""

LEFT_OVER = """
SELECT
    (SELECT count(*) FROM flowstone.procrastinate_jobs WHERE status IN ('todo', 'doing'))
        AS open_jobs,
    (SELECT count(*) FROM flowstone.flowstone_waits) AS waits,
    (SELECT count(*) FROM flowstone.flowstone_values v WHERE NOT EXISTS (
        SELECT FROM flowstone.flowstone_materializations m
        WHERE m.id = v.materialization_id AND m.status = 'succeeded'
    )) AS values_of_nothing
"""

COUNTERS = """
SELECT
    r.id, r.status::text, r.open_count, r.failed_count, r.cancelled_count, r.finished_at IS NOT NULL
FROM flowstone.flowstone_runs r
WHERE r.id = ANY ($1)
ORDER BY 1
"""


async def until_ended(pg: asyncpg.Connection, *run_ids: int, within: float = 60.0) -> None:
    await eventually(lambda: pg.fetchval(ENDED, run_ids), within=within)


async def assert_completed_once(
    pg: asyncpg.Connection, ledger: Ledger, *run_ids: int
) -> Mapping[int, Any]:
    """
    Check that every materialization of these runs succeeded once, with the value of its last start.

    Returns their rows by id; ``value`` is read.
    """
    counters = await pg.fetch(COUNTERS, run_ids)
    assert [tuple(row) for row in counters] == [
        (run_id, "succeeded", 0, 0, 0, True) for run_id in sorted(run_ids)
    ]
    rows = {row["id"]: dict(row) for row in await pg.fetch(MATERIALIZATIONS, run_ids)}
    for row in rows.values():
        assert (row["status"], row["job_status"], row["completions"]) == (
            "succeeded",
            "succeeded",
            1,
        )
        row["value"] = json.loads(row["value"])
    starts = {start.token: start for start in ledger.starts()}
    for id_, row in rows.items():
        value, start = row["value"], starts[row["value"]["token"]]
        assert (start.materialization, start.attempt) == (id_, value["attempt"])
        assert value["attempt"] == row["attempt"], "the value is not of the attempt that counts"
        made_from = [rows[upstream]["value"]["token"] for upstream in row["upstreams"]]
        assert sorted(value["inputs"]) == sorted(made_from)
    for row in rows.values():
        current = rows[row["current"]]
        assert (current["asset"], current["partition"]) == (row["asset"], row["partition"])
    left_over = [dict(row) for row in await pg.fetch(LEFT_OVER)]
    assert left_over == [{"open_jobs": 0, "waits": 0, "values_of_nothing": 0}]
    return rows


async def assert_no_worker_is_left(pg: asyncpg.Connection) -> None:
    await eventually(
        lambda: pg.fetchval(
            "SELECT NOT EXISTS (SELECT FROM flowstone.workers)"
            " AND NOT EXISTS (SELECT FROM flowstone.procrastinate_workers)"
        )
    )
