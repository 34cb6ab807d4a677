"""What is counted equals the rows."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "a run's counters equal its rows",
        """
        SELECT
            r.id, r.open_count, r.failed_count, r.cancelled_count, counted.*, r.finished_at AS at
        FROM flowstone.flowstone_runs r
        CROSS JOIN LATERAL (
            SELECT
                count(*) FILTER (WHERE m.finished_at IS NULL) AS open,
                count(*) FILTER (
                    WHERE m.status IN ('failed', 'upstream_failed') AND NOT m.is_tolerated
                ) AS failed,
                count(*) FILTER (WHERE m.status = 'cancelled' AND NOT m.is_tolerated) AS cancelled
            FROM flowstone.flowstone_materializations m
            WHERE m.run_id = r.id
        ) counted
        WHERE (r.open_count, r.failed_count, r.cancelled_count)
            <> (counted.open, counted.failed, counted.cancelled)
        """,
    ),
    Invariant(
        "a run's end follows from its rows",
        """
        SELECT r.id, r.status::text, expected.status AS expected, r.finished_at AS at
        FROM flowstone.flowstone_runs r
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN bool_or(m.finished_at IS NULL) THEN 'running'
                WHEN bool_or(m.status IN ('failed', 'upstream_failed') AND NOT m.is_tolerated)
                    THEN 'failed'
                WHEN bool_or(m.status = 'cancelled' AND NOT m.is_tolerated) THEN 'cancelled'
                ELSE 'succeeded'
            END AS status
            FROM flowstone.flowstone_materializations m
            WHERE m.run_id = r.id
        ) expected
        WHERE r.status::text <> expected.status
        """,
    ),
    Invariant(
        "who ran had no unmet upstream left, and was not counted down further",
        """
        SELECT m.id, m.run_id, m.asset, m.status::text, m.unmet, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        WHERE m.unmet < 0 OR m.claim IS NOT NULL AND m.unmet <> 0
        """,
    ),
)
