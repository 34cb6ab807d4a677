-- What is going on, for a view that looks every second: nothing here reads more for a longer backlog or history.

-- How many jobs of ours succeeded or failed per second, by queue, since p_since.
--
-- Events have their ids in the order of time, so the first one since then is found by halving. Of more than
-- 2,000 an even sample is read, one from each stretch of ids, and counts for its stretch.
CREATE FUNCTION flowstone_per_second(p_since timestamptz)
    RETURNS TABLE (queue text, per_second double precision)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_seconds double precision := extract(epoch FROM clock_timestamp() - p_since);
    v_end bigint := (SELECT max(e.id) + 1 FROM procrastinate_events e);
    v_step bigint := 1;
    v_from bigint;  -- is not since p_since
    v_first bigint;  -- is
    v_middle bigint;
    v_stretch bigint;
BEGIN
    v_first := v_end;
    LOOP
        v_from := v_end - v_step;
        EXIT WHEN v_from <= 0 OR v_from IS NULL
            OR (SELECT e.at <= p_since FROM procrastinate_events e WHERE e.id >= v_from ORDER BY e.id LIMIT 1);
        v_first := v_from;
        v_step := v_step * 2;
    END LOOP;
    WHILE v_first - v_from > 1 LOOP
        v_middle := (v_from + v_first) / 2;
        IF (SELECT e.at <= p_since FROM procrastinate_events e WHERE e.id >= v_middle ORDER BY e.id LIMIT 1) THEN
            v_from := v_middle;
        ELSE
            v_first := v_middle;
        END IF;
    END LOOP;

    -- Ids that are gone, as those of what was pruned, make no stretches.
    v_first := (SELECT e.id FROM procrastinate_events e WHERE e.id >= v_first ORDER BY e.id LIMIT 1);
    v_stretch := greatest(1, (v_end - v_first) / 2000);
    RETURN QUERY
    SELECT ended.queue, count(*) * v_stretch / v_seconds
    FROM (
        SELECT (
            -- Looked up one by one: a join may begin with all jobs there are.
            SELECT j.queue_name::text
            FROM procrastinate_jobs j
            WHERE j.id = e.job_id AND j.task_name IN ('flowstone:materialize', 'flowstone:keyed')
        ) AS queue
        FROM procrastinate_events e
        WHERE e.id = ANY (ARRAY(
                SELECT start + floor(random() * v_stretch)::bigint
                FROM generate_series(v_first, v_end - 1, v_stretch) AS stretch(start)
            ))
            AND e.type IN ('succeeded', 'failed')
            AND e.at > p_since
    ) ended
    WHERE ended.queue IS NOT NULL
    GROUP BY ended.queue;
END;
$$;

-- The next queue by name that holds jobs of ours which are to do, or null; after '' the first.
CREATE FUNCTION flowstone_next_queue_to_do(p_after text)
    RETURNS text
    LANGUAGE sql
    STABLE
AS $$
    SELECT least(
        (
            SELECT j.queue_name
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:materialize' AND j.status = 'todo' AND j.scheduled_at IS NULL
                AND j.queue_name > p_after
            ORDER BY j.queue_name
            LIMIT 1
        ),
        (
            SELECT j.queue_name
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:materialize' AND j.status = 'todo' AND j.scheduled_at IS NOT NULL
                AND j.queue_name > p_after
            ORDER BY j.queue_name
            LIMIT 1
        ),
        (
            SELECT j.queue_name
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:keyed' AND j.status = 'todo' AND j.scheduled_at IS NULL
                AND j.queue_name > p_after
            ORDER BY j.queue_name
            LIMIT 1
        ),
        (
            SELECT j.queue_name
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:keyed' AND j.status = 'todo' AND j.scheduled_at IS NOT NULL
                AND j.queue_name > p_after
            ORDER BY j.queue_name
            LIMIT 1
        )
    );
$$;

-- How many jobs of a queue are due, and how many are timed for later than p_now; of each kind p_most are counted,
-- and no more.
CREATE FUNCTION flowstone_count_to_do(p_queue text, p_now timestamptz, p_most integer, OUT due bigint, OUT later bigint)
    LANGUAGE sql
    STABLE
AS $$
    WITH kinds AS (
        SELECT
            count(*) AS due, 0 AS later
        FROM (
            SELECT
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:materialize' AND j.status = 'todo' AND j.queue_name = p_queue
                AND j.scheduled_at IS NULL
            ORDER BY -j.priority::bigint, j.id
            LIMIT p_most
        ) counted
        UNION ALL
        SELECT
            count(*), 0
        FROM (
            SELECT
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:materialize' AND j.status = 'todo' AND j.queue_name = p_queue
                AND j.scheduled_at <= p_now
            ORDER BY j.scheduled_at, j.id
            LIMIT p_most
        ) counted
        UNION ALL
        SELECT
            0, count(*)
        FROM (
            SELECT
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:materialize' AND j.status = 'todo' AND j.queue_name = p_queue
                AND j.scheduled_at > p_now
            ORDER BY j.scheduled_at, j.id
            LIMIT p_most
        ) counted
        UNION ALL
        SELECT
            count(*), 0
        FROM (
            SELECT
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:keyed' AND j.status = 'todo' AND j.queue_name = p_queue
                AND j.scheduled_at IS NULL
            ORDER BY j.args ->> 'key', j.args ->> 'lane', -j.priority::bigint, j.id
            LIMIT p_most
        ) counted
        UNION ALL
        SELECT
            count(*), 0
        FROM (
            SELECT
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:keyed' AND j.status = 'todo' AND j.queue_name = p_queue
                AND j.scheduled_at <= p_now
            ORDER BY j.scheduled_at, j.id
            LIMIT p_most
        ) counted
        UNION ALL
        SELECT
            0, count(*)
        FROM (
            SELECT
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:keyed' AND j.status = 'todo' AND j.queue_name = p_queue
                AND j.scheduled_at > p_now
            ORDER BY j.scheduled_at, j.id
            LIMIT p_most
        ) counted
    )
    SELECT least(p_most, sum(kinds.due))::bigint, least(p_most, sum(kinds.later))::bigint FROM kinds;
$$;

-- Queues, workers, what runs (p_most, the longest first) and what failed (p_most, the newest first), as JSON.
--
-- Of what waits in a queue p_most_counted are counted, and no more: in the order of the index, and without
-- a bitmap or a sort, which fetch all first. per_second is since p_lately_ms ago.
CREATE FUNCTION flowstone_activity_v1(p_most integer, p_most_counted integer, p_lately_ms bigint)
    RETURNS TABLE (seen_at timestamptz, queues text, workers text, running text, failures text)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_doing bigint[] := flowstone_doing();
BEGIN
    seen_at := v_now;

    WITH RECURSIVE at_work AS MATERIALIZED (
        SELECT j.queue_name::text AS name, count(*) AS running
        FROM procrastinate_jobs j
        WHERE j.id = ANY (v_doing) AND j.task_name IN ('flowstone:materialize', 'flowstone:keyed')
        GROUP BY j.queue_name
    ),
    rate AS MATERIALIZED (
        SELECT * FROM flowstone_per_second(v_now - p_lately_ms * interval '1 ms')
    ),
    to_do AS (
        SELECT flowstone_next_queue_to_do('') AS name
        UNION ALL
        SELECT flowstone_next_queue_to_do(to_do.name) FROM to_do WHERE to_do.name IS NOT NULL
    ),
    named AS (
        SELECT to_do.name FROM to_do WHERE to_do.name IS NOT NULL
        UNION
        SELECT unnest(w.queues) FROM flowstone_workers w
        UNION
        SELECT at_work.name FROM at_work
        UNION
        SELECT rate.queue FROM rate
        UNION
        SELECT s.name FROM flowstone_queues s WHERE s.paused_at IS NOT NULL
    )
    SELECT coalesce(json_agg(q ORDER BY q.name COLLATE "C"), '[]')::text INTO queues
    FROM (
        SELECT
            named.name,
            to_do.due,
            to_do.later,
            coalesce((SELECT at_work.running FROM at_work WHERE at_work.name = named.name), 0) AS running,
            coalesce((SELECT rate.per_second FROM rate WHERE rate.queue = named.name), 0) AS per_second,
            EXISTS (
                SELECT FROM flowstone_queues s WHERE s.name = named.name AND s.paused_at IS NOT NULL
            ) AS is_paused
        FROM named
        CROSS JOIN LATERAL flowstone_count_to_do(named.name, v_now, p_most_counted) AS to_do
    ) q;

    WITH own AS MATERIALIZED (
        SELECT
            m.id, m.run_id, m.asset AS name, coalesce(assisted.partition, m.partition) AS partition, m.queue,
            m.attempt, m.worker_id, m.started_at
        FROM flowstone_materializations m
        LEFT JOIN flowstone_materializations assisted ON assisted.id = m.assists
        WHERE m.id = ANY (v_doing) AND m.status = 'running'
    )
    SELECT
        (SELECT coalesce(json_agg(w ORDER BY w.worker_id), '[]')::text FROM (
            SELECT
                w.id AS worker_id, w.host, w.pid, w.queues, w.lease_ms, w.started_at, w.heartbeat_at,
                (SELECT count(*) FROM own WHERE own.worker_id = w.id) AS running
            FROM flowstone_workers w
        ) w),
        (SELECT coalesce(json_agg(o ORDER BY o.started_at, o.id), '[]')::text FROM (
            SELECT * FROM own ORDER BY own.started_at, own.id LIMIT p_most
        ) o)
    INTO workers, running;

    SELECT coalesce(json_agg(f ORDER BY f.failed_at DESC, f.id DESC), '[]')::text INTO failures
    FROM (
        SELECT m.id, m.run_id, m.asset AS name, m.partition, e.attempt, e.failed_at, e.error::text AS error
        FROM (
            SELECT * FROM flowstone_errors newest ORDER BY newest.failed_at DESC LIMIT p_most
        ) e
        -- One by one: a join may begin with all materializations there are.
        CROSS JOIN LATERAL (
            SELECT m.* FROM flowstone_materializations m
            WHERE m.id = e.materialization_id AND m.assists IS NULL
            OFFSET 0
        ) m
    ) f;
    RETURN NEXT;
END;
$$;
