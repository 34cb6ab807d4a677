-- The public read API: views that stay as they are while the tables beneath may change.
-- docs/sql.md explains them; a new shape gets a new name.

CREATE VIEW runs AS
SELECT
    r.id AS run_id,
    -- As the enum that it is: a condition on its text would find no index.
    r.status,
    r.targets,
    r.options,
    r.dedupe,
    r.retry_of,
    r.created_at,
    r.cancel_requested_at,
    r.finished_at,
    extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.created_at)::double precision AS seconds
FROM flowstone_runs r;
COMMENT ON VIEW runs IS 'One row per run.';

CREATE VIEW materializations AS
SELECT
    m.id AS materialization_id,
    m.run_id,
    m.asset,
    m.partition,
    m.status::text AS status,
    m.attempt,
    m.queue,
    m.priority,
    m.reason,
    m.error ->> 'type' AS error_type,
    m.error ->> 'message' AS error_message,
    m.error,
    w.waiting_on,
    w.waiting_since,
    w.deadline_at,
    m.started_at,
    m.finished_at,
    m.duration_ms,
    CASE WHEN m.status = 'running' THEN m.worker_id END AS worker_id,
    CASE WHEN m.status = 'ready' AND j.scheduled_at > clock_timestamp() THEN j.scheduled_at END AS not_before
FROM flowstone_materializations m
LEFT JOIN flowstone_waits w ON w.materialization_id = m.id AND m.status = 'waiting'
LEFT JOIN procrastinate_jobs j ON j.id = m.id
WHERE m.run_id IS NOT NULL AND m.assists IS NULL;
COMMENT ON VIEW materializations IS
    'One row per computed partition of an asset: what is running, what failed and why, how long it took, what it waits for.';

CREATE VIEW jobs AS
SELECT
    m.id AS job_id,
    m.asset AS job,
    m.status::text AS status,
    m.attempt,
    m.queue,
    m.priority,
    m.arguments,
    v.value AS result,
    m.error ->> 'type' AS error_type,
    m.error ->> 'message' AS error_message,
    m.error,
    m.enqueued_at,
    m.started_at,
    m.finished_at,
    m.duration_ms,
    CASE WHEN m.status = 'running' THEN m.worker_id END AS worker_id,
    CASE WHEN m.status = 'ready' AND j.scheduled_at > clock_timestamp() THEN j.scheduled_at END AS not_before,
    m.schedule,
    m.tick_at
FROM flowstone_materializations m
LEFT JOIN flowstone_values v ON v.materialization_id = m.id
LEFT JOIN procrastinate_jobs j ON j.id = m.id
WHERE m.run_id IS NULL;
COMMENT ON VIEW jobs IS 'One row per job below the assets: what it was given, how it stands, what it returned.';

CREATE VIEW schedules AS
SELECT
    s.name AS schedule, s.pipeline, s.job, s.arguments, s.queue, s.priority, s.cron, s.timezone, s.missed,
    s.source, s.paused_at, CASE WHEN s.paused_at IS NULL THEN s.next_at END AS next_at, s.last_at,
    s.last_job_id, s.created_at
FROM flowstone_schedules s;
COMMENT ON VIEW schedules IS 'Which jobs are enqueued when, again and again.';

CREATE VIEW errors AS
SELECT
    e.materialization_id, m.run_id, CASE WHEN m.run_id IS NULL THEN m.id END AS job_id, m.asset AS name,
    m.partition, e.attempt, e.failed_at, e.error ->> 'type' AS error_type,
    e.error ->> 'message' AS error_message, e.error
FROM flowstone_errors e
JOIN flowstone_materializations m ON m.id = e.materialization_id
WHERE m.assists IS NULL;
COMMENT ON VIEW errors IS 'What each failed attempt failed with, of assets and of jobs.';

CREATE VIEW run_progress AS
SELECT
    r.id AS run_id,
    r.status,
    count(m.id) AS total,
    count(m.id) FILTER (WHERE m.status = 'pending') AS pending,
    count(m.id) FILTER (WHERE m.status = 'ready') AS ready,
    count(m.id) FILTER (WHERE m.status = 'running') AS running,
    count(m.id) FILTER (WHERE m.status = 'waiting') AS waiting,
    count(m.id) FILTER (WHERE m.status = 'succeeded') AS succeeded,
    count(m.id) FILTER (WHERE m.status = 'failed') AS failed,
    count(m.id) FILTER (WHERE m.status = 'upstream_failed') AS upstream_failed,
    count(m.id) FILTER (WHERE m.status = 'skipped') AS skipped,
    count(m.id) FILTER (WHERE m.status = 'cancelled') AS cancelled,
    (SELECT count(*) FROM flowstone_reused u WHERE u.run_id = r.id) AS reused
FROM flowstone_runs r
LEFT JOIN flowstone_materializations m ON m.run_id = r.id AND m.assists IS NULL
GROUP BY r.id;
COMMENT ON VIEW run_progress IS 'How far a run is; filter by run_id.';

CREATE VIEW waiting AS
SELECT
    m.id AS materialization_id, m.run_id, m.asset, m.partition, w.waiting_on, w.whom, w.is_external, w.state,
    w.waiting_since, w.deadline_at
FROM flowstone_waits w
JOIN flowstone_materializations m ON m.id = w.materialization_id
WHERE m.status = 'waiting';
COMMENT ON VIEW waiting IS 'What waits, of whatever kind: for what, on whom, since when, until when.';

CREATE VIEW open_upstreams AS
SELECT
    m.id AS materialization_id, m.run_id, m.asset, m.partition,
    u.id AS upstream_materialization_id, u.asset AS upstream_asset, u.partition AS upstream_partition,
    u.status::text AS upstream_status
FROM flowstone_materializations m
CROSS JOIN unnest(m.inputs || m.follows || m.awaits) AS upstream(id)
JOIN flowstone_materializations u ON u.id = upstream.id
WHERE m.status IN ('pending', 'waiting') AND u.status IN ('pending', 'ready', 'running', 'waiting');
COMMENT ON VIEW open_upstreams IS 'Which upstreams a materialization still waits for, pending, or waiting itself; filter by run_id.';

CREATE VIEW current_values AS
SELECT
    c.asset, c.partition, c.materialization_id, m.run_id, m.finished_at AS materialized_at, m.version,
    c.invalidated_at, m.io, m.location, v.size_bytes, v.value
FROM flowstone_current c
JOIN flowstone_materializations m ON m.id = c.materialization_id
LEFT JOIN flowstone_values v ON v.materialization_id = c.materialization_id;
COMMENT ON VIEW current_values IS 'The value that each asset''s partition has now; value is null when an IO manager has it.';

CREATE VIEW lineage_edges AS
SELECT
    l.materialization_id, m.run_id, m.asset, m.partition,
    l.upstream_id AS upstream_materialization_id, u.asset AS upstream_asset, u.partition AS upstream_partition,
    m.finished_at AS consumed_at
FROM flowstone_lineage l
JOIN flowstone_materializations m ON m.id = l.materialization_id
JOIN flowstone_materializations u ON u.id = l.upstream_id;
COMMENT ON VIEW lineage_edges IS 'Which materialization was made from which.';

CREATE VIEW reused_values AS
SELECT u.run_id, m.asset, m.partition, u.materialization_id, u.reason
FROM flowstone_reused u
JOIN flowstone_materializations m ON m.id = u.materialization_id;
COMMENT ON VIEW reused_values IS 'What a run took as it was, and why it could.';

CREATE VIEW queue_depth AS
SELECT
    j.queue_name::text AS queue,
    count(*) FILTER (WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= clock_timestamp()))
        AS due,
    count(*) FILTER (WHERE j.status = 'todo' AND j.scheduled_at > clock_timestamp()) AS later,
    count(*) FILTER (WHERE j.status = 'doing') AS running
FROM procrastinate_jobs j
WHERE j.status IN ('todo', 'doing')
GROUP BY j.queue_name;
COMMENT ON VIEW queue_depth IS 'How much each queue holds: due, later (timed or parked), running.';

CREATE VIEW queues AS
SELECT
    known.queue, q.paused_at, q.slots, q.max_running, q.rate_count AS rate, q.rate_ms * interval '1 ms' AS per,
    q.max_running_per_key, q.rate_per_key_count AS rate_per_key, q.rate_per_key_ms * interval '1 ms' AS per_key,
    q.limits_from, coalesce(depth.due, 0) AS due, coalesce(depth.later, 0) AS later,
    coalesce(depth.running, 0) AS running, coalesce(served.workers, 0) AS workers
FROM (
    SELECT d.queue FROM queue_depth d
    UNION SELECT q.name FROM flowstone_queues q
    UNION SELECT unnest(w.queues) FROM flowstone_workers w
) known
LEFT JOIN flowstone_queues q ON q.name = known.queue
LEFT JOIN queue_depth depth ON depth.queue = known.queue
LEFT JOIN (
    SELECT s.name, count(*) AS workers FROM flowstone_workers w CROSS JOIN unnest(w.queues) s(name) GROUP BY s.name
) served ON served.name = known.queue;
COMMENT ON VIEW queues IS 'Queues that have settings, jobs or workers: what was said about them, and what they hold.';

CREATE VIEW workers AS
SELECT
    w.id AS worker_id, w.host, w.pid, w.queues, w.started_at, w.heartbeat_at,
    w.lease_ms * interval '1 ms' AS lease,
    (
        SELECT count(*)
        FROM procrastinate_jobs j
        JOIN flowstone_materializations m ON m.id = j.id
        WHERE j.status = 'doing' AND m.status = 'running' AND m.worker_id = w.id
    ) AS running
FROM flowstone_workers w;
COMMENT ON VIEW workers IS 'Who is at work.';
