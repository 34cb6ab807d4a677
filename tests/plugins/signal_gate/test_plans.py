"""What each step reads does not depend on how many gates are open; counted in blocks."""

import asyncpg

from tests.plugins.blocks import blocks, leave_alone

MANY, MOST_BLOCKS = 8_000, 125
PLANNED, APART = 6, 10
"""How often each step is planned anew before its plan may be kept, and how far apart it works."""

OPEN = """signal_gate_create_v1(
    ARRAY[{id} + {new}], '{{0}}', '{{1}}', ARRAY['new' || {id} + {new}], '{{1000}}', '{{fail}}',
    '{{0}}', '{{1}}', {waits}
)"""
STEPS = {
    "open": OPEN.replace("{new}", "5").replace("{waits}", "false"),
    "open alone": OPEN.replace("{new}", "6").replace("{waits}", "true"),
    "get": "signal_gate_get_v1('{{{id}}}')",
    "find": "signal_gate_find_v1('t{id}')",
    "tell of a materialization": "signal_gate_of_materialization_v1({id})",
    "tell of a run": "signal_gate_of_run_v1({id})",
    "list what is open": "signal_gate_waiting_v1(NULL, 20)",
    "prune what came early": "signal_gate_prune_v1(3600000, 10)",
    "look whether time is up": "signal_gate_time_out_v1('{{{id}}}', false)",
    "let its time be up": "signal_gate_time_out_v1(ARRAY[{id} + 1], false)",
    "keep a signal": """signal_gate_signal_v1(
        '[{{"token": "early{id}", "payload": "1"}}]', false
    )""",
    "signal": """signal_gate_signal_v1('[{{"token": "t{id}", "payload": "1"}}]', false)""",
    "signal alone": """signal_gate_signal_v1(
        json_build_array(json_build_object('token', 't' || {id} + 2, 'payload', '1')), true
    )""",
    "close": "signal_gate_cancel_v1({id} + 3)",
    "end with its run": "flowstone_cancel_run_v1({id} + 4)",
}
ROWS = """
WITH made AS (
    INSERT INTO flowstone_materializations
        (id, run_id, asset, partition, queue, priority, status, unmet, claim, has_wait, reason)
    SELECT
        n, n, 'a', 'p' || n, 'q', 0,
        CASE WHEN has_gate THEN 'waiting' ELSE 'running' END::flowstone_status, 0, 0, has_gate, ''
    FROM generate_series($1::integer, $2) n
    CROSS JOIN LATERAL (SELECT n % 10 NOT IN (5, 6)) of(has_gate)
    RETURNING id, has_wait
),
run AS (
    INSERT INTO flowstone_runs (id, status, open_count, targets, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, 'running', 1, '[]', now() FROM made
),
job AS (
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, status, scheduled_at)
    SELECT id, 'q', 'flowstone:materialize', 'todo', now() + '1d' FROM made
)
SELECT count(*) FROM made
"""
GATES = """
WITH gate AS (
    INSERT INTO signal_gate_gates (
        id, materialization_id, run_id, asset, partition, attempt, token, token_hash, opened_at,
        timeout_at, timeout_action, max_timeout_retries
    )
    OVERRIDING SYSTEM VALUE
    SELECT
        m.id, m.id, m.run_id, m.asset, m.partition, 1, 't' || m.id, signal_gate_hash('t' || m.id),
        now(), now() + (CASE WHEN m.id % 2 = 0 THEN '1h' ELSE '-1h' END)::interval, 'fail', 0
    FROM flowstone_materializations m
    WHERE m.status = 'waiting' AND m.id BETWEEN $1::integer AND $2
    RETURNING materialization_id AS id
),
early AS (
    INSERT INTO signal_gate_early (token_hash, token, received_at, payload)
    SELECT signal_gate_hash('e' || id), 'e' || id, now(), '1' FROM gate
)
INSERT INTO flowstone_waits (materialization_id, waiting_on) SELECT id, 'signal' FROM gate
"""
ENDED = """
SELECT status, count(*) FROM signal_gates
WHERE materialization_id BETWEEN $1 AND $1 + 9 GROUP BY status
"""
WHOLE = "SELECT pg_relation_size('signal_gate_gates') / current_setting('block_size')::int"


async def test_nothing_is_read_that_is_not_wanted(pg: asyncpg.Connection) -> None:
    await leave_alone(pg)
    await pg.execute("SET search_path TO flowstone")
    few, middle = PLANNED * APART, MANY // 2
    await pg.execute("ALTER TABLE signal_gate_gates ALTER id RESTART WITH 1000000")
    await pg.execute(ROWS, 0, few)
    for start in range(0, few, APART):
        for name, call in STEPS.items():
            # The first gates open where there are none.
            if name == "get":
                await pg.execute(GATES, start, start + APART - 1)
            await blocks(pg, call.format(id=start))
    await pg.execute(ROWS, few + 1, MANY)
    await pg.execute(GATES, few + 1, MANY)

    read = {name: await blocks(pg, call.format(id=middle)) for name, call in STEPS.items()}

    assert {name: count for name, count in read.items() if count > MOST_BLOCKS} == {}
    ended = dict(await pg.fetch(ENDED, middle))
    done = {"cancelled": 2, "signaled": 2, "timeout": 1, "waiting": 3 + 2}
    assert ended == done, "a step did not do what it is for"
    assert await pg.fetchval(WHOLE) > MOST_BLOCKS, "there would not be more to read"
