-- Jobs below the assets: materializations without a run.

-- What procrastinate calls a job: those with a key or a lane are found in another way; see 52_claim_keyed.sql.
CREATE FUNCTION flowstone_task_of_job(p_key text, p_lane text)
    RETURNS text
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT CASE WHEN p_key IS NULL AND p_lane IS NULL THEN 'flowstone:materialize' ELSE 'flowstone:keyed' END;
$$;

CREATE FUNCTION flowstone_args_of_job(p_name text, p_key text, p_lane text)
    RETURNS jsonb
    LANGUAGE sql
    STABLE
AS $$
    SELECT CASE WHEN p_key IS NULL AND p_lane IS NULL
        THEN jsonb_build_object('job', p_name)
        ELSE jsonb_build_object('job', p_name, 'key', coalesce(p_key, ''), 'lane', coalesce(p_lane, ''))
    END;
$$;

-- Enqueue jobs, all in one statement, in the caller's transaction. Arrays run in parallel; a name, queue, priority,
-- state or conflict that is the same for all may be given once.
--
-- p_arguments: JSON texts. p_at, p_delays (milliseconds): not before; of the two the later, null is at once.
-- p_keys, p_states, p_windows (milliseconds), p_conflicts: of unique jobs, see 74_unique.sql; null when none is.
-- p_limit_keys, p_lanes: of jobs with a key or in a lane; null when none is.
-- Returns their ids, in the order given, each with what became of it: created; existing or replaced, when
-- another holds its key. One that is not to be enqueued then comes as conflict, and nothing was written: the
-- caller's transaction can go on.
CREATE FUNCTION flowstone_enqueue_jobs_v1(
    p_names text[],
    p_arguments text[],
    p_queues text[],
    p_priorities integer[],
    p_at timestamptz[],
    p_delays bigint[],
    p_keys text[],
    p_states smallint[],
    p_windows bigint[],
    p_conflicts text[],
    p_limit_keys text[],
    p_lanes text[]
)
    RETURNS TABLE (id bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_sequence regclass := pg_get_serial_sequence('procrastinate_jobs', 'id');
    v_name text := p_names[1];
    v_queue text := p_queues[1];
    v_priority integer := p_priorities[1];
    v_states smallint := p_states[1];
    v_due timestamptz[];
    v_fate flowstone_unique_fate;
    v_conflict text;
BEGIN
    IF p_keys IS NOT NULL THEN
        v_due := ARRAY(
            SELECT greatest(s.at, v_now + s.delay_ms * interval '1 ms')
            FROM unnest(p_at, p_delays) WITH ORDINALITY AS s(at, delay_ms, place)
            ORDER BY s.place
        );
        IF 'raise' = ANY (p_conflicts) THEN
            BEGIN
                v_fate := flowstone_resolve_unique(
                    p_arguments, p_queues, p_priorities, v_due, p_keys, p_conflicts, p_limit_keys, p_lanes
                );
            EXCEPTION WHEN SQLSTATE 'FS004' THEN
                GET STACKED DIAGNOSTICS v_conflict = PG_EXCEPTION_DETAIL;
                RETURN QUERY
                SELECT
                    CASE WHEN s.key = split_part(v_conflict, ' ', 2) THEN split_part(v_conflict, ' ', 1)::bigint END,
                    CASE WHEN s.key = split_part(v_conflict, ' ', 2) THEN 'conflict' END
                FROM unnest(p_keys) WITH ORDINALITY AS s(key, place)
                ORDER BY s.place;
                RETURN;
            END;
        ELSE
            v_fate := flowstone_resolve_unique(
                p_arguments, p_queues, p_priorities, v_due, p_keys, p_conflicts, p_limit_keys, p_lanes
            );
        END IF;
    END IF;

    IF p_limit_keys IS NOT NULL OR p_lanes IS NOT NULL THEN
        PERFORM flowstone_expect_keys(p_queues, p_limit_keys, p_lanes);
    END IF;

    RETURN QUERY
    WITH job AS MATERIALIZED (
        SELECT
            CASE WHEN p_keys IS NULL THEN nextval(v_sequence) ELSE s.id END AS id,
            coalesce(s.name, v_name) AS name, s.arguments, coalesce(s.queue, v_queue) AS queue,
            coalesce(s.priority, v_priority) AS priority,
            greatest(s.at, v_now + s.delay_ms * interval '1 ms') AS scheduled_at,
            s.key, CASE WHEN s.key IS NOT NULL THEN coalesce(s.states, v_states) END AS states,
            v_now + s.window_ms * interval '1 ms' AS unique_until, s.limit_key, s.lane
        FROM unnest(
            p_names, p_arguments, p_queues, p_priorities, p_at, p_delays, p_keys, p_states, p_windows,
            v_fate.entered, p_limit_keys, p_lanes
        ) AS s(name, arguments, queue, priority, at, delay_ms, key, states, window_ms, id, limit_key, lane)
        WHERE p_keys IS NULL OR s.id IS NOT NULL
    ),
    entered AS (
        INSERT INTO flowstone_materializations
            (id, asset, queue, priority, status, unmet, enqueued_at, arguments, reason, unique_key,
             unique_states, unique_until, unique_status, limit_key, lane)
        SELECT
            job.id, job.name, job.queue, job.priority, 'ready'::flowstone_status, 0, v_now,
            job.arguments::json, 'enqueued', job.key, job.states, job.unique_until,
            CASE WHEN job.key IS NOT NULL THEN 'pending'::flowstone_status END, job.limit_key, job.lane
        FROM job
    ),
    queued AS (
        INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args, scheduled_at)
        SELECT
            job.id, job.queue, flowstone_task_of_job(job.limit_key, job.lane), job.priority,
            flowstone_args_of_job(job.name, job.limit_key, job.lane), job.scheduled_at
        FROM job
        RETURNING id
    )
    SELECT queued.id, 'created' FROM queued WHERE p_keys IS NULL
    UNION ALL
    SELECT fate.id, fate.outcome FROM unnest(v_fate.ids, v_fate.outcomes) AS fate(id, outcome);
END;
$$;

-- Note that queues have jobs with keys or lanes. Only the first of a queue writes.
CREATE FUNCTION flowstone_expect_keys(p_queues text[], p_limit_keys text[], p_lanes text[])
    RETURNS void
    LANGUAGE sql
AS $$
    INSERT INTO flowstone_queues AS q (name, has_keys)
    SELECT DISTINCT given.queue, true
    FROM unnest(p_queues, p_limit_keys, p_lanes) AS s(queue, limit_key, lane)
    CROSS JOIN LATERAL (SELECT coalesce(s.queue, p_queues[1]) AS queue) given
    WHERE (s.limit_key IS NOT NULL OR s.lane IS NOT NULL)
        AND NOT EXISTS (SELECT FROM flowstone_queues known WHERE known.name = given.queue AND known.has_keys)
    ORDER BY given.queue
    ON CONFLICT (name) DO UPDATE SET has_keys = true;
$$;

CREATE TYPE flowstone_job_record AS (
    id bigint, name text, status text, queue text, priority integer, attempt integer, arguments text,
    value text, error text, waiting_on text, not_before timestamptz, enqueued_at timestamptz,
    started_at timestamptz, finished_at timestamptz, duration_ms integer, schedule text, tick_at timestamptz
);

-- Jobs by their ids; what is not (or no longer) one is left out.
CREATE FUNCTION flowstone_jobs_v1(p_ids bigint[])
    RETURNS SETOF flowstone_job_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT
        m.id, m.asset, m.status::text, m.queue, m.priority, m.attempt, m.arguments::text, v.value::text,
        m.error::text, w.waiting_on,
        CASE WHEN m.status = 'ready' AND j.scheduled_at > clock_timestamp() THEN j.scheduled_at END,
        m.enqueued_at, m.started_at, m.finished_at, m.duration_ms, m.schedule, m.tick_at
    FROM flowstone_materializations m
    LEFT JOIN procrastinate_jobs j ON j.id = m.id
    LEFT JOIN flowstone_values v ON v.materialization_id = m.id
    LEFT JOIN flowstone_waits w ON w.materialization_id = m.id AND m.status = 'waiting'
    WHERE m.id = ANY (p_ids) AND m.run_id IS NULL
    ORDER BY m.id;
$$;

-- Say that somebody waits for the end of a job, so that it is notified. Jobs that nobody waits for end
-- without a word.
CREATE FUNCTION flowstone_await_job_v1(p_id bigint)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    UPDATE flowstone_materializations m SET is_awaited = true
    WHERE m.id = p_id AND m.run_id IS NULL AND m.finished_at IS NULL AND NOT m.is_awaited;
$$;

-- What each failed attempt failed with, the first one first.
CREATE FUNCTION flowstone_errors_v1(p_id bigint)
    RETURNS TABLE (attempt integer, failed_at timestamptz, error text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT e.attempt, e.failed_at, e.error::text
    FROM flowstone_errors e
    WHERE e.materialization_id = p_id
    ORDER BY e.claim;
$$;
