-- The public read API of scatters: views that stay as they are while the tables beneath may change.
-- docs/sql.md explains them; a new shape gets a new name.

CREATE VIEW scatter_progress AS
SELECT
    b.materialization_id,
    b.run_id,
    f.asset,
    f.partition,
    e.status,
    b.total,
    b.total - b.completed - b.failed AS pending,
    b.completed,
    b.failed,
    b.retried,
    -- All that there will be; null while nobody knows.
    CASE
        WHEN b.is_closed OR e.finished_at IS NOT NULL THEN b.total
        WHEN f.expected_total IS NOT NULL THEN greatest(f.expected_total, b.total)
    END AS expected_total,
    b.is_closed,
    f.is_batched,
    CASE WHEN b.total > 0 THEN round(100.0 * (b.completed + b.failed) / greatest(f.expected_total, b.total), 1) ELSE 0 END
        AS percent,
    CASE WHEN b.total > 0 THEN b.failed::double precision / b.total ELSE 0 END AS failure_rate,
    t.seconds,
    r.items_per_s,
    CASE
        WHEN e.finished_at IS NOT NULL THEN 0
        WHEN r.items_per_s > 0 AND (b.is_closed OR f.expected_total IS NOT NULL)
            THEN (greatest(f.expected_total, b.total) - b.completed - b.failed) / r.items_per_s
    END AS seconds_left,
    b.max_concurrent,
    b.rate_count,
    b.rate_ms,
    b.failure_mode,
    b.failure_threshold,
    b.error ->> 'type' AS error_type,
    b.error ->> 'message' AS error_message,
    b.created_at,
    e.finished_at,
    b.items_pruned_at
FROM scatter_barriers b
JOIN scatter_feeds f USING (materialization_id)
LEFT JOIN flowstone_materializations m ON m.id = b.materialization_id
CROSS JOIN LATERAL (
    -- One whose asset has ended before it is over, though no pump may be there to write it.
    SELECT
        CASE WHEN b.status = 'executing' AND flowstone_is_terminal(m.status) THEN 'cancelled' ELSE b.status END AS status,
        CASE WHEN b.status = 'executing' THEN m.finished_at ELSE b.finished_at END AS finished_at
) e
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM coalesce(e.finished_at, clock_timestamp()) - b.created_at)::double precision AS seconds
) t
CROSS JOIN LATERAL (
    SELECT CASE WHEN t.seconds > 0 THEN (b.completed + b.failed) / t.seconds END AS items_per_s
) r;
COMMENT ON VIEW scatter_progress IS
    'One row per scatter: how far it is, how fast on average, how long it will take, and what limits it.';

CREATE VIEW scattered_items AS
SELECT
    i.materialization_id,
    i.index,
    coalesce(i.key, i.item) AS key,
    i.item,
    CASE i.status WHEN 0 THEN 'pending' WHEN 1 THEN 'completed' WHEN 2 THEN 'failed' END AS status,
    i.attempts,
    i.result,
    i.error ->> 'type' AS error_type,
    i.error ->> 'message' AS error_message,
    i.error,
    i.errors AS item_errors,
    i.finished_at
FROM scatter_items i;
COMMENT ON VIEW scattered_items IS
    'One row per item of a scatter, or per batch: what it is, how it stands, what it gave. Filter by materialization_id.';

CREATE VIEW scatter_failures AS
SELECT
    i.materialization_id,
    i.error ->> 'type' AS error_type,
    i.error ->> 'message' AS error_message,
    count(*) AS items,
    min(i.index) AS first_index,
    max(i.finished_at) AS last_failed_at
FROM scatter_items i
WHERE i.status = 2
GROUP BY 1, 2, 3;
COMMENT ON VIEW scatter_failures IS
    'What items of a scatter failed with, equal errors together. Filter by materialization_id.';
