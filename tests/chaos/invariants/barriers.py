"""A scatter's counters are its rows, each item has one result, and nothing is left when it ends."""

from tests.chaos.invariants.invariant import Invariant
from tests.chaos.scattered import MOST_AT_ONCE, SIZES, TOGETHER, WIDE

_SIZES = ", ".join(f"('{name}', {size})" for name, size in SIZES.items())

_UNDISTURBED = """
WITH item AS (
    SELECT i.*, m.asset FROM chaos.items i
    JOIN flowstone.flowstone_materializations m ON m.id = i.materialization_id
    -- Whoever was given up goes on for a while with what others have by then.
    WHERE NOT EXISTS (
        SELECT FROM flowstone.flowstone_materializations a
        WHERE a.assists = m.id AND a.rescues > 0
    )
    -- Or has lost his claim in another way: then an item of his is run a second time beside it.
    AND m.id <> ALL (ARRAY(
        SELECT one.materialization_id FROM chaos.items one
        JOIN chaos.items other
            ON (other.materialization_id, other.item) = (one.materialization_id, one.item)
            AND one.at < other.at AND other.at < one.ended
    ))
)
"""

INVARIANTS = (
    Invariant(
        "a scatter's counters equal its items",
        """
        SELECT b.materialization_id, b.status, b.total, b.completed, b.failed, counted.*,
            b.finished_at AS at
        FROM flowstone.scatter_barriers b
        CROSS JOIN LATERAL (
            SELECT count(*) AS items, count(*) FILTER (WHERE i.status = 1) AS completed_items,
                count(*) FILTER (WHERE i.status = 2) AS failed_items
            FROM flowstone.scatter_items i WHERE i.materialization_id = b.materialization_id
        ) counted
        WHERE (b.total, b.completed, b.failed)
            <> (counted.items, counted.completed_items, counted.failed_items)
        """,
    ),
    Invariant(
        "a scatter ends as its items did, and its asset as the scatter",
        f"""
        SELECT b.materialization_id, m.asset, m.status::text, b.status AS barrier, b.total,
            b.completed, b.failed, b.is_closed, m.finished_at AS at
        FROM flowstone.scatter_progress b
        JOIN flowstone.flowstone_materializations m ON m.id = b.materialization_id
        LEFT JOIN (VALUES {_SIZES}) AS size(asset, items) ON size.asset = m.asset
        WHERE b.finished_at IS NULL OR NOT CASE b.status
            WHEN 'completed' THEN b.is_closed AND b.completed = b.total
            WHEN 'partial_failure' THEN b.is_closed AND b.completed + b.failed = b.total
            WHEN 'failed' THEN b.failed > 0 AND m.status IN ('failed', 'cancelled')
            ELSE m.status IN ('cancelled', 'failed')
        END
            OR m.status = 'succeeded' AND b.status NOT IN ('completed', 'partial_failure')
            OR m.status = 'succeeded' AND m.asset <> '{TOGETHER}' AND b.total <> size.items
        """,
    ),
    Invariant(
        "an item's result is what an attempt at it returned, once",
        """
        SELECT i.materialization_id, i.index, i.attempts, i.result::text, s.item, s.outcome,
            i.finished_at AS at
        FROM flowstone.scatter_items i
        LEFT JOIN chaos.items s ON s.token = i.result #>> '{}'
        WHERE i.status = 1 AND (
            (s.materialization_id, s.outcome) IS DISTINCT FROM (i.materialization_id, 'value')
            OR s.item::text IS DISTINCT FROM coalesce(i.item ->> 0, i.item #>> '{}')
        )
        """,
    ),
    Invariant(
        "what was gathered is what the items gave",
        """
        SELECT m.id, m.asset, v.value -> 'payload' AS payload, b.completed, b.failed,
            m.finished_at AS at
        FROM flowstone.scatter_barriers b
        JOIN flowstone.flowstone_materializations m ON m.id = b.materialization_id
        JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE (v.value -> 'payload' ->> 'values')::integer <> b.completed
            OR (v.value -> 'payload' ->> 'distinct')::integer <> b.completed
            OR (v.value -> 'payload' ->> 'failed')::integer <> b.failed
        """,
    ),
    Invariant(
        "a scatter that has ended hands nothing out, and nobody works for it",
        """
        SELECT c.materialization_id, 'a chunk' AS what
        FROM flowstone.scatter_chunks c
        JOIN flowstone.scatter_barriers b USING (materialization_id)
        JOIN flowstone.flowstone_materializations m ON m.id = c.materialization_id
        -- One that was cancelled while nobody pumped keeps its chunks until it is pruned.
        WHERE NOT (b.status = 'executing' AND m.status = 'cancelled')
        UNION ALL
        SELECT materialization_id, 'a pump' FROM flowstone.scatter_pumps
        UNION ALL
        SELECT m.assists, 'an assistant ' || m.id FROM flowstone.flowstone_materializations m
        WHERE m.assists IS NOT NULL AND (m.status <> 'skipped' OR m.finished_at IS NULL)
            AND NOT (m.status = 'cancelled' AND m.finished_at IS NOT NULL)
        """,
    ),
    Invariant(
        "no more items of a scatter run at once than it permits",
        f"""{_UNDISTURBED}
        SELECT * FROM (
            SELECT materialization_id, moment,
                sum(step) OVER (PARTITION BY materialization_id ORDER BY moment, step) AS running
            FROM (
                SELECT materialization_id, at AS moment, 1 AS step FROM item
                WHERE ended IS NOT NULL AND asset = '{WIDE}'
                UNION ALL
                SELECT materialization_id, ended, -1 FROM item
                WHERE ended IS NOT NULL AND asset = '{WIDE}'
            ) moves
        ) counted
        WHERE running > {MOST_AT_ONCE}
        """,
    ),
    Invariant(
        # Each start that is permitted moves the time of the next one. When a body gets to it, the
        # loop may be late: of a single second bodies' clocks say nothing.
        "no more items of a scatter have started than its rate has let through",
        """
        SELECT b.materialization_id, b.created_at, b.next_start_at AS at, s.starts
        FROM flowstone.scatter_barriers b
        JOIN (SELECT materialization_id, count(*) AS starts FROM chaos.items GROUP BY 1) s
            USING (materialization_id)
        WHERE b.rate_count IS NOT NULL AND b.next_start_at < b.created_at
            + (s.starts - 1) * b.rate_ms / b.rate_count * interval '1 ms'
        """,
    ),
)
