"""
What each step of the engine reads does not depend on what else is in the tables.

Counted in blocks, so that nobody's machine matters: with a few rows of each kind, and with
thousands in the way. Reading a table, or an index from end to end, shows as hundreds of blocks.
Plans are those that a session made while the tables were all but empty, without statistics and with
those of that time, and those of a new session, without statistics and with true ones.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bench.ours.growth_rows import Rows
from flowstone.engine.dsn import for_asyncpg
from tests.conftest import a_database

CLAIMS, FEW, MANY = 12, 500, 6_000
STATES = ("planned while empty", "never analyzed", "analyzed while empty", "analyzed")

Blocks = Mapping[str, Mapping[str, int]]


def turn(
    *, slots: int = CLAIMS, queue: str = "default", run: str = "NULL", settles: int = 0
) -> str:
    """Return the call of a turn; it settles the first of what the worker 1 runs, or nothing."""
    # Of each pair the first is ready, so these have every second id.
    ids = [2 * number + 1 for number in range(settles)]
    n = f"ARRAY[{settles}]"
    return f"""flowstone_turn_v1(
        1, ARRAY{ids}::bigint[], array_fill(0, {n}), array_fill(1::smallint, {n}),
        array_fill('1'::text, {n}), '{{}}', '{{}}', array_fill('v1'::text, {n}), '{{}}', '{{}}',
        array_fill(1, {n}), '{{}}', '{{{queue}}}', '{{{slots}}}', {run}, 65536
    )"""


MONTH_MS = 30 * 24 * 3600 * 1000

STEPS = {
    "claim what is due at once": turn(),
    "claim what is timed and due": turn(queue="timed"),
    "claim from a run": turn(run="1"),
    "claim from a long run": turn(run="(SELECT max(id) FROM flowstone_runs)"),
    "look for the next due": turn(queue="later"),
    "settle": turn(slots=0, settles=CLAIMS),
    # Of a queue of their own: what is undone leaves dead rows, which others would read.
    "claim without limits": turn(queue="other"),
    "claim within limits": turn(queue="other"),
    "claim beside a limited queue": turn(queue="other"),
    "claim beside a key without room": turn(queue="keys"),
    "claim from lanes": turn(queue="lanes"),
    "say that a queue is drained": "flowstone_is_drained_v1('default')",
    "slots": "flowstone_slots_v1(1)",
    "heartbeat": "flowstone_heartbeat_v1(1)",
    "owned": "flowstone_owned_v1(1)",
    "aborts": "flowstone_aborts_v1(1)",
    "rescue nobody": "flowstone_rescue_v1(5)",
    "take over": "flowstone_take_over('{1}', true, 5)",
    "unregister": "flowstone_unregister_worker_v1(1)",
    "cancel a run": "flowstone_cancel_run_v1(1)",
    "wake": "flowstone_wake_v1(1, NULL)",
    "what is stored": "flowstone_current_v1(ARRAY['bench.asset_1'], ARRAY['old-1'], 1)",
    "invalidate": "flowstone_invalidate_v1(ARRAY['bench.asset_1'], ARRAY['old-1'], false, NULL)",
    "list failed runs": "(SELECT * FROM runs WHERE status = 'failed' LIMIT 20) failed",
    "read a run": "flowstone_run_v1(1)",
    "read its materializations": "flowstone_materializations_v1(1)",
    "read its outputs": "flowstone_outputs_v1(1, ARRAY['bench.asset_1'], ARRAY['1'], 65536)",
    "read what it reused": "flowstone_reused_v1(1)",
    "read a history": "flowstone_history_v1('bench.asset_1', 'old-1', 20)",
    "read a lineage": "flowstone_lineage_v1('bench.asset_1', 'old-1')",
    "read values": "flowstone_values_v1('{1,2,3}')",
    "prune": f"flowstone_prune_v1({MONTH_MS}, NULL, NULL, NULL, '{{}}', '{{}}', '{{}}', {CLAIMS})",
    "prune values": f"""flowstone_prune_v1(
        NULL, NULL, {MONTH_MS}, NULL, '{{}}', '{{}}', '{{}}', {CLAIMS}
    )""",
    "prune jobs": f"""flowstone_prune_v1(
        NULL, NULL, NULL, NULL,
        '{{NULL,mail}}', '{{{MONTH_MS},{MONTH_MS}}}', '{{NULL,NULL}}', {CLAIMS}
    )""",
}

LIMITS = """
SELECT flowstone_limit_queue_v1(
    '{}', json_build_object('max_running', 500, 'rate_count', 500, 'rate_ms', 1000)
)
"""
KEY_LIMITS = """
SELECT flowstone_limit_queue_v1(
    'keys', json_build_object(
        'max_running_per_key', 2, 'rate_per_key_count', 5, 'rate_per_key_ms', 1000
    )
)
"""

# All of one tenant but for a few; and lanes that are one behind the other.
KEYED = """
SELECT count(*) FROM flowstone_enqueue_jobs_v1(
    array_fill('bench.job'::text, ARRAY[$1::integer]),
    array_fill('{}'::text, ARRAY[$1::integer]),
    array_fill($2::text, ARRAY[$1::integer]), array_fill(0, ARRAY[$1::integer]),
    array_fill(NULL::timestamptz, ARRAY[$1::integer]), array_fill(NULL::bigint, ARRAY[$1::integer]),
    NULL, NULL, NULL, NULL,
    CASE WHEN $2::text = 'keys' THEN
        ARRAY(
            SELECT CASE WHEN i % 50 = 0 THEN 'small' ELSE 'big' END
            FROM generate_series(1, $1::integer) i
        )
    END,
    CASE WHEN $2::text = 'lanes' THEN
        ARRAY(SELECT 'lane-' || i % 20 FROM generate_series(1, $1::integer) i)
    END
)
"""

BEFORE = {
    "claim beside a key without room": KEY_LIMITS,
    "claim within limits": LIMITS.format("other"),
    "claim beside a limited queue": LIMITS.format("timed"),
}

FINISHED_RUNS = """
INSERT INTO flowstone_runs (status, open_count, targets, created_at, finished_at)
SELECT 'succeeded', 0, '[]', now(), now() FROM generate_series(1, $1::integer)
"""


@pytest.fixture(scope="module")
def blocks(server_dsn: str, template_database: str) -> Blocks:
    """How many blocks each step touches, by state; "few" is the reference."""
    counted: dict[str, Mapping[str, int]] = {}
    for count in (count_without_statistics, count_with_statistics):
        with a_database(server_dsn, template_database) as dsn:
            counted |= asyncio.run(count(dsn))
    return counted


async def count_without_statistics(dsn: str) -> Blocks:
    async with a_session(dsn) as early, a_session(dsn) as late:
        rows = Rows(early, "flowstone")
        await begin(rows, early)
        await keep_plans(early)
        await put_in_the_way(rows, early, FEW)
        few = await blocks_of_steps(early)
        await put_in_the_way(rows, early, MANY)
        return {
            "few": few,
            "planned while empty": await blocks_of_steps(early),
            "never analyzed": await blocks_of_steps(late),
        }


async def count_with_statistics(dsn: str) -> Blocks:
    async with a_session(dsn) as early, a_session(dsn) as late:
        rows = Rows(early, "flowstone")
        await begin(rows, early)
        await analyze(rows, early)
        await keep_plans(early)
        # What was undone leaves entries in indexes, the more the more steps there are.
        await early.execute("VACUUM")
        await blocks_of_steps(early)
        await put_in_the_way(rows, early, MANY)
        outdated = await blocks_of_steps(early)
        await analyze(rows, early)
        return {"analyzed while empty": outdated, "analyzed": await blocks_of_steps(late)}


@asynccontextmanager
async def a_session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    await connection.execute("SET search_path TO flowstone")
    yield connection
    await connection.close()


async def begin(rows: Rows, pg: asyncpg.Connection) -> None:
    """Let the worker 1 run half of what can be claimed of the run 1."""
    await rows.prepare()
    await pg.execute(OLD_JOBS, CLAIMS)
    await pg.execute("SELECT flowstone_register_worker_v1('here', 1, '{default}', 3600000)")
    await rows.plan(2 * CLAIMS, pairs=True)
    await pg.execute(f"SELECT * FROM {turn(slots=CLAIMS)}")


async def keep_plans(pg: asyncpg.Connection) -> None:
    """Play more often than the five times after which a session may keep a plan for good."""
    for _ in range(4):
        await blocks_of_steps(pg)


async def analyze(rows: Rows, pg: asyncpg.Connection) -> None:
    await pg.execute("VACUUM")  # It also clears the indexes of what was undone.
    await rows.analyze()


async def put_in_the_way(rows: Rows, pg: asyncpg.Connection, count: int) -> None:
    now = datetime.now(UTC)
    await rows.plan(count, pairs=True)
    await rows.plan(count, queue="other")
    await rows.plan(count, queue="timed", at=now - timedelta(hours=1))
    await rows.plan(count, queue="timed", at=now + timedelta(days=365))
    await rows.plan(count, queue="later", at=now + timedelta(days=365))
    for queue in ("keys", "lanes"):
        await pg.execute(KEYED, count, queue)
    await rows.finish(count)
    await pg.execute(OLD_RUNS, count)
    await pg.execute(FINISHED_RUNS, count)
    # The last run of all is as long as what is in its way; its first turn is behind it.
    await rows.plan(count, pairs=True)
    await pg.execute(f"SELECT * FROM {turn(slots=0, run='(SELECT max(id) FROM flowstone_runs)')}")


# Jobs that ended a year ago; their numbers leave 1 and what follows to others.
OLD_JOBS = """
WITH job AS MATERIALIZED (
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, status)
    SELECT -number, 'old', 'flowstone:materialize', 'succeeded'
    FROM generate_series(1, $1::integer) number
    RETURNING id
),
event AS (
    INSERT INTO procrastinate_events (job_id, type, at)
    SELECT id, 'succeeded', now() - interval '1 year' FROM job
)
INSERT INTO flowstone_materializations
    (id, asset, queue, priority, status, unmet, finished_at, arguments, reason)
SELECT id, 'bench.job', 'old', 0, 'succeeded', 0, now() - interval '1 year', '{}', '' FROM job
"""

# Runs of a year; each replaced what one before it gave, and took what another gave.
OLD_RUNS = """
WITH planned AS MATERIALIZED (
    SELECT
        number,
        nextval('procrastinate_jobs_id_seq') AS id,
        now() - number * interval '1 year' / $1::integer AS at
    FROM generate_series($1::integer, 1, -1) AS number
),
run AS (
    INSERT INTO flowstone_runs (id, status, open_count, targets, created_at, finished_at)
    OVERRIDING SYSTEM VALUE
    SELECT -id, 'succeeded', 0, '[]', at, at FROM planned
),
job AS (
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, status)
    SELECT id, 'old', 'flowstone:materialize', 'succeeded' FROM planned
),
event AS (
    INSERT INTO procrastinate_events (job_id, type, at) SELECT id, 'succeeded', at FROM planned
),
valued AS (
    INSERT INTO flowstone_values (materialization_id, size_bytes, value)
    SELECT id, 1, '1' FROM planned
),
taken AS (
    INSERT INTO flowstone_reused (run_id, materialization_id, reason)
    SELECT -id, id - 20, 'fresh' FROM planned
),
made AS (
    INSERT INTO flowstone_lineage (materialization_id, upstream_id) SELECT id, id - 20 FROM planned
)
INSERT INTO flowstone_materializations (
    id, run_id, asset, partition, queue, priority, status, unmet, finished_at, inputs, follows,
    dependents, optional_dependents, reason
)
SELECT
    id, -id, 'bench.old', (number % 10)::text, 'old', 0, 'succeeded', 0, at,
    ARRAY[id - 20], '{}', '{}', '{}', ''
FROM planned
"""


async def blocks_of_steps(pg: asyncpg.Connection) -> Mapping[str, int]:
    """Play each step twice and undo it: the first time also reads the catalogue."""
    return {
        name: [await blocks_of(pg, step, BEFORE.get(name)) for _ in range(2)][1]
        for name, step in STEPS.items()
    }


async def blocks_of(pg: asyncpg.Connection, step: str, before: str | None = None) -> int:
    transaction = pg.transaction()
    await transaction.start()
    if before is not None:
        await pg.execute(before)
    answer = await pg.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT * FROM {step}"
    )
    await transaction.rollback()
    plan = json.loads(answer)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_reads_no_more_for_what_is_in_the_way(blocks: Blocks, step: str, state: str) -> None:
    few, many = blocks["few"][step], blocks[state][step]

    # Trees are one level deeper, and a plan that is made anew reads the statistics.
    assert many <= few * 1.3 + 60


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["never analyzed", "analyzed"])
async def test_what_is_stored_is_looked_up_by_key_though_planned_for_empty_tables(
    dsn: str, is_analyzed: bool
) -> None:
    keys = "ARRAY(SELECT 'bench.asset_' || i % 2 FROM generate_series(1, {0}) i)"
    partitions = "ARRAY(SELECT 'old-' || i FROM generate_series(1, {0}) i)"
    step = f"flowstone_current_v1({keys}, {partitions}, 0)"
    async with a_session(dsn) as early:
        if is_analyzed:
            await early.execute("ANALYZE")
        for _ in range(8):
            await blocks_of(early, step.format(1))
        rows = Rows(early, "flowstone")
        await rows.prepare()
        await rows.finish(MANY)

        assert await blocks_of(early, step.format(1)) <= 30
        assert await blocks_of(early, step.format(100)) <= 100 * 15


@pytest.mark.parametrize("state", STATES)
def test_limits_of_other_queues_cost_a_queue_without_them_nothing(
    blocks: Blocks, state: str
) -> None:
    alone = blocks[state]["claim without limits"]
    beside = blocks[state]["claim beside a limited queue"]
    within = blocks[state]["claim within limits"]

    assert beside <= alone * 1.2 + 60
    assert within <= alone * 1.3 + 60
