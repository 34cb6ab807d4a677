"""What each step reads does not depend on how many others are open; counted in blocks."""

import asyncpg
import pytest

from tests.plugins.blocks import blocks, leave_alone

MANY, MOST_BLOCKS = 14_000, 115

STEPS = {
    "find": "checkpoints_get_v1({id})",
    "look whether it is due": "checkpoints_expire_v1('{{{id}}}', true)",
    "list what is open": "checkpoints_list_v1(true, NULL, NULL, 9223372036854775807, 20)",
    "list all": "checkpoints_list_v1(NULL, NULL, NULL, 9223372036854775807, 20)",
    "tell of a run": "checkpoints_of_run_v1({id})",
    "take notices, none due": "checkpoints_take_notices_v1(20)",
    "look for the next notice": "checkpoints_next_notice_v1()",
    "settle a notice": """checkpoints_settle_notices_v1(
        '[{{"id": {id}, "told": ["log"], "is_done": false}}]', false
    )""",
    "pass it on": "checkpoints_escalate_v1({id}, 'ann', '{{}}', '{{cfo}}', '', NULL)",
    "decide": """checkpoints_decide_v1(
        '[{{"id": {id}, "verdict": "approve", "by_whom": "cfo", "of_groups": []}}]', true
    )""",
}
ROWS = """
WITH made AS (
    INSERT INTO flowstone_materializations
        (id, run_id, asset, partition, queue, priority, status, unmet, claim, has_wait, reason)
    SELECT n, n, 'a', 'p' || n, 'q', 0, 'waiting', 0, 0, true, ''
    FROM generate_series($1::integer, $2) n
    RETURNING id
),
job AS (
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, status, scheduled_at)
    SELECT id, 'q', 'flowstone:materialize', 'todo', now() + '1d' FROM made
),
wait AS (
    INSERT INTO flowstone_waits (materialization_id, waiting_on) SELECT id, 'approval' FROM made
),
notice AS (
    INSERT INTO checkpoints_notices (materialization_id, event, due_at)
    SELECT id, 'reminder', now() + '1d' FROM made
)
INSERT INTO checkpoints_approvals (
    materialization_id, run_id, asset, partition, message, value, approvers, on_timeout,
    escalate_to, timeout_ms, reminders_ms, requested_at, deadline_at, status, decided_at
)
SELECT
    id, id, 'a', 'p' || id, '', '1', '{}', 'reject', '{}', 1000, '{1}', now(), now() + '2d',
    CASE WHEN id % 1000 <= 1 THEN 'pending' ELSE 'rejected' END,
    CASE WHEN id % 1000 > 1 THEN now() END
FROM made
"""


async def test_nothing_is_read_that_is_not_wanted(pg: asyncpg.Connection) -> None:
    await leave_alone(pg)
    await pg.execute("SET search_path TO flowstone")
    await pg.execute(ROWS, 1, 1)
    for call in STEPS.values():
        await blocks(pg, call.format(id=1))  # planned while there is next to nothing
    await pg.execute(ROWS, 2, MANY)

    read = {name: await blocks(pg, call.format(id=MANY // 2)) for name, call in STEPS.items()}

    assert {name: count for name, count in read.items() if count > MOST_BLOCKS} == {}
    decided = "SELECT count(*) FROM approvals WHERE status = 'approved'"
    assert await pg.fetchval(decided) == 2, "a step did not do what it is for"


@pytest.mark.parametrize("table", ["checkpoints_approvals", "checkpoints_notices"])
async def test_there_would_be_more_to_read(pg: asyncpg.Connection, table: str) -> None:
    await pg.execute("SET search_path TO flowstone")
    await pg.execute(ROWS, 1, MANY)

    whole = await pg.fetchval("SELECT pg_relation_size($1::regclass) / 8192", f"flowstone.{table}")

    assert whole > MOST_BLOCKS
