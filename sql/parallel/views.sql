-- What people read of parallel assets. A branch stands as its final asset does, also while nobody looks at it.

CREATE VIEW parallel_branch_states AS
SELECT
    b.materialization_id, m.run_id, m.asset, m.partition, b.branch, b.asset AS final_asset,
    b.branch_materialization_id AS final_materialization_id, b.is_required,
    b.is_waited_for,
    CASE
        WHEN b.status <> 'pending' THEN b.status
        WHEN f.status = 'succeeded' THEN 'success'
        WHEN f.status = 'skipped' THEN 'skipped'
        WHEN f.status IN ('failed', 'upstream_failed', 'cancelled') THEN 'failed'
        ELSE 'pending'
    END AS status,
    f.status::text AS final_status,
    CASE WHEN b.status = 'pending' THEN e.scheduled_at + least(b.timeout_ms, e.timeout_ms) * interval '1 ms' END
        AS deadline_at,
    coalesce(b.ended_at, f.finished_at) AS ended_at,
    coalesce(b.error, f.error) ->> 'message' AS error_message
FROM parallel_branches b
JOIN parallel_executions e ON e.materialization_id = b.materialization_id
JOIN flowstone_materializations m ON m.id = b.materialization_id
LEFT JOIN flowstone_materializations f ON f.id = b.branch_materialization_id;
COMMENT ON VIEW parallel_branch_states IS 'How each branch of a parallel asset stands; filter by run_id or materialization_id.';

CREATE VIEW parallel_progress AS
SELECT
    e.materialization_id, m.run_id, m.asset, m.partition, e.failure_mode,
    CASE
        WHEN m.status = 'succeeded' THEN 'complete'
        WHEN m.status IN ('failed', 'skipped', 'cancelled', 'upstream_failed') THEN m.status::text
        WHEN e.scheduled_at IS NULL THEN 'pending'
        WHEN m.status = 'waiting' THEN 'running'
        ELSE 'joining'
    END AS status,
    (SELECT count(*) FROM parallel_branches b WHERE b.materialization_id = e.materialization_id) AS branch_count,
    counted.completed, counted.failed, e.scheduled_at, e.scheduled_at + e.timeout_ms * interval '1 ms' AS deadline_at,
    m.finished_at
FROM parallel_executions e
JOIN flowstone_materializations m ON m.id = e.materialization_id
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE s.status IN ('success', 'skipped')) AS completed,
        count(*) FILTER (WHERE s.status = 'failed') AS failed
    FROM parallel_branch_states s
    WHERE s.materialization_id = e.materialization_id
) counted;
COMMENT ON VIEW parallel_progress IS 'How far each parallel asset is; filter by run_id or materialization_id.';

-- How the branches of a run's parallel assets stand, in order. Beside the views, as it reads one.
CREATE FUNCTION parallel_branches_of_run_v1(p_run bigint)
    RETURNS TABLE (materialization_id bigint, branch text, status text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT s.materialization_id, s.branch, s.status
    FROM flowstone_materializations m
    JOIN parallel_branch_states s ON s.materialization_id = m.id
    JOIN parallel_branches b ON b.materialization_id = s.materialization_id AND b.branch = s.branch
    WHERE m.run_id = p_run
    ORDER BY s.materialization_id, b.place;
$$;
