"""
How each materialization ends follows from its behavior and its upstreams, and from nothing else.

Each rule looks at one row and the rows right before it; together they say how every row of a run
has to end.
"""

from tests.chaos.invariants.invariant import Invariant

_ROWS = """
WITH it AS (
    SELECT
        m.id, m.run_id, m.asset, m.status::text, f.ends, m.claim, m.rescues,
        m.error ->> 'code' AS error, m.error ->> 'message' AS message, m.finished_at AS at,
        r.cancel_requested_at IS NOT NULL AS cancel_requested,
        ARRAY(
            SELECT u.status::text FROM flowstone.flowstone_materializations u
            WHERE u.run_id = m.run_id AND m.id = ANY (u.dependents)
        ) AS upstreams
    FROM flowstone.flowstone_materializations m
    JOIN flowstone.flowstone_runs r ON r.id = m.run_id
    LEFT JOIN chaos.fates f ON f.asset = m.asset
    WHERE m.assists IS NULL
)
"""
MOST_RESCUES = 5

INVARIANTS = (
    Invariant(
        "nobody fails who cannot",
        f"""{_ROWS}
        SELECT * FROM it
        WHERE it.status = 'failed' AND it.ends <> 'failed'
            AND NOT (it.error = 'worker_died' AND it.rescues > {MOST_RESCUES})
        """,
    ),
    Invariant(
        "nobody succeeds who cannot",
        f"{_ROWS} SELECT * FROM it WHERE it.status = 'succeeded' AND it.ends <> 'succeeded'",
    ),
    Invariant(
        "nobody runs whose upstreams did not succeed",
        f"""{_ROWS}
        SELECT * FROM it
        WHERE it.claim IS NOT NULL AND NOT ('succeeded' = ALL (it.upstreams))
        """,
    ),
    Invariant(
        "who ends by an upstream has one that ended so",
        f"""{_ROWS}
        SELECT * FROM it
        WHERE CASE it.status
            WHEN 'upstream_failed' THEN NOT it.upstreams && '{{failed,upstream_failed}}'
            WHEN 'skipped' THEN it.ends <> 'skipped' AND NOT 'skipped' = ANY (it.upstreams)
            WHEN 'cancelled'
                THEN it.ends <> 'cancelled' AND NOT it.cancel_requested
                    AND NOT 'cancelled' = ANY (it.upstreams)
            ELSE false
        END
        """,
    ),
)
