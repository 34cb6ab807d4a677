-- Cron jobs: rows that say which job is enqueued when. What a cron expression means is worked out by
-- whoever calls; here are the clock, the fence, and the one transaction of each step.

-- Tell whoever enqueues ticks that a schedule has changed.
CREATE FUNCTION flowstone_notify_schedules()
    RETURNS void
    LANGUAGE sql
AS $$
    SELECT pg_notify('flowstone#' || current_schema(), '{"schedules": true}');
$$;

CREATE FUNCTION flowstone_now_v1()
    RETURNS timestamptz
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    SELECT clock_timestamp();
$$;

-- Write schedules, all or none. Arrays run in parallel.
--
-- p_source: 'code' also deletes those of that source which these pipelines have and the arrays have not.
-- p_next: the first tick of what is new or has another time; one whose time is unchanged keeps its own.
-- What is paused stays so. Who adds at run time takes nothing from the code: such names are returned.
-- Locks: schedules by name.
CREATE FUNCTION flowstone_put_schedules_v1(
    p_source text,
    p_pipelines text[],
    p_names text[],
    p_owners text[],
    p_jobs text[],
    p_arguments text[],
    p_queues text[],
    p_priorities integer[],
    p_crons text[],
    p_timezones text[],
    p_missed text[],
    p_next timestamptz[],
    p_keys text[],
    p_states smallint[],
    p_windows bigint[],
    p_conflicts text[]
)
    RETURNS TABLE (refused text)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_written bigint;
    v_deleted bigint := 0;
BEGIN
    INSERT INTO flowstone_schedules AS s
        (name, pipeline, job, arguments, queue, priority, cron, timezone, missed, source, created_at, next_at,
         unique_key, unique_states, unique_window_ms, unique_conflict)
    SELECT
        g.name, g.owner, g.job, g.arguments::json, g.queue, g.priority, g.cron, g.timezone, g.missed,
        p_source, clock_timestamp(), g.next_at, g.key, g.states, g.window_ms, g.conflict
    FROM unnest(
        p_names, p_owners, p_jobs, p_arguments, p_queues, p_priorities, p_crons, p_timezones, p_missed, p_next,
        p_keys, p_states, p_windows, p_conflicts
    ) AS g(name, owner, job, arguments, queue, priority, cron, timezone, missed, next_at, key, states, window_ms,
        conflict)
    ORDER BY g.name
    ON CONFLICT (name) DO UPDATE
    SET
        pipeline = excluded.pipeline, job = excluded.job, arguments = excluded.arguments,
        queue = excluded.queue, priority = excluded.priority, cron = excluded.cron,
        timezone = excluded.timezone, missed = excluded.missed, source = excluded.source,
        unique_key = excluded.unique_key, unique_states = excluded.unique_states,
        unique_window_ms = excluded.unique_window_ms, unique_conflict = excluded.unique_conflict,
        next_at = CASE
            WHEN s.cron = excluded.cron AND s.timezone = excluded.timezone THEN coalesce(s.next_at, excluded.next_at)
            ELSE excluded.next_at
        END
    WHERE (p_source = 'code' OR s.source = p_source)
        AND (
            s.next_at IS NULL AND excluded.next_at IS NOT NULL
            OR (s.pipeline, s.job, s.arguments::text, s.queue, s.priority, s.cron, s.timezone, s.missed, s.source,
                s.unique_key, s.unique_states, s.unique_window_ms, s.unique_conflict)
                IS DISTINCT FROM (
                    excluded.pipeline, excluded.job, excluded.arguments::text, excluded.queue,
                    excluded.priority, excluded.cron, excluded.timezone, excluded.missed, excluded.source,
                    excluded.unique_key, excluded.unique_states, excluded.unique_window_ms,
                    excluded.unique_conflict
                )
        );
    GET DIAGNOSTICS v_written = ROW_COUNT;
    IF p_source = 'code' THEN
        DELETE FROM flowstone_schedules s
        WHERE s.pipeline = ANY (p_pipelines) AND s.source = 'code' AND NOT s.name = ANY (p_names);
        GET DIAGNOSTICS v_deleted = ROW_COUNT;
    END IF;
    IF v_written + v_deleted > 0 THEN
        PERFORM flowstone_notify_schedules();
    END IF;
    RETURN QUERY
    SELECT s.name FROM flowstone_schedules s WHERE s.name = ANY (p_names) AND s.source <> p_source;
END;
$$;

-- Delete one that was added at run time; returns the source of what was found, null when there is none.
CREATE FUNCTION flowstone_remove_schedule_v1(p_name text)
    RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM flowstone_schedules s WHERE s.name = p_name AND s.source = 'runtime';
    IF FOUND THEN
        PERFORM flowstone_notify_schedules();
        RETURN 'runtime';
    END IF;
    RETURN (SELECT s.source FROM flowstone_schedules s WHERE s.name = p_name);
END;
$$;

-- False: there is no such schedule. One that is paused already stays as it is.
CREATE FUNCTION flowstone_pause_schedule_v1(p_name text)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE flowstone_schedules s SET paused_at = coalesce(s.paused_at, clock_timestamp()) WHERE s.name = p_name;
    IF FOUND THEN
        PERFORM flowstone_notify_schedules();
    END IF;
    RETURN FOUND;
END;
$$;

-- Go on with p_next; one that was not paused keeps its next tick. False: there is no such schedule.
CREATE FUNCTION flowstone_resume_schedule_v1(p_name text, p_next timestamptz)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE flowstone_schedules s
    SET paused_at = NULL, next_at = CASE WHEN s.paused_at IS NULL THEN s.next_at ELSE p_next END
    WHERE s.name = p_name;
    IF FOUND THEN
        PERFORM flowstone_notify_schedules();
    END IF;
    RETURN FOUND;
END;
$$;

CREATE TYPE flowstone_schedule_record AS (
    name text, pipeline text, job text, arguments text, queue text, priority integer, cron text, timezone text,
    missed text, source text, created_at timestamptz, paused_at timestamptz, next_at timestamptz,
    last_at timestamptz, last_job_id bigint, unique_key text, unique_states smallint, unique_window_ms bigint,
    unique_conflict text
);

-- All of them, by name.
CREATE FUNCTION flowstone_schedules_v1()
    RETURNS SETOF flowstone_schedule_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        s.name, s.pipeline, s.job, s.arguments::text, s.queue, s.priority, s.cron, s.timezone, s.missed,
        s.source, s.created_at, s.paused_at, s.next_at, s.last_at, s.last_job_id, s.unique_key, s.unique_states,
        s.unique_window_ms, s.unique_conflict
    FROM flowstone_schedules s
    ORDER BY s.name;
$$;

-- The first p_limit that are due; where fewer are, also what comes next. One row without a name when nothing
-- ever does: it has the time.
CREATE FUNCTION flowstone_due_schedules_v1(p_limit integer)
    RETURNS TABLE (now timestamptz, name text, cron text, timezone text, missed text, next_at timestamptz)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    SELECT v_now, s.name, s.cron, s.timezone, s.missed, s.next_at
    FROM (SELECT 1) AS once
    LEFT JOIN (
        SELECT o.name, o.cron, o.timezone, o.missed, o.next_at
        FROM flowstone_schedules o
        WHERE o.paused_at IS NULL
            AND o.next_at <= greatest(
                v_now, (SELECT min(f.next_at) FROM flowstone_schedules f WHERE f.paused_at IS NULL)
            )
        ORDER BY o.next_at, o.name
        LIMIT p_limit
    ) s ON true
    ORDER BY s.next_at, s.name;
END;
$$;

-- Enqueue ticks and move their schedules on, in one transaction. Two groups of arrays: schedules, and the
-- ticks to enqueue, by the name of their schedule.
--
-- A schedule counts only if it still is what the caller has read: of two who enqueue the same tick, one does.
-- One whose row somebody holds is passed over: either he enqueues it, or it is read again. So is one whose unique
-- job somebody is about to enqueue, in a transaction that may stay open for long: no other waits for him.
-- Returns what was moved, with the job of each tick (null when there was none to enqueue).
-- Locks: schedules, by name.
CREATE FUNCTION flowstone_tick_schedules_v1(
    p_names text[],
    p_crons text[],
    p_timezones text[],
    p_expected timestamptz[],
    p_next timestamptz[],
    p_tick_names text[],
    p_ticks timestamptz[]
)
    RETURNS TABLE (schedule text, tick timestamptz, job_id bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_names text[];
    v_tick_names text[];
    v_ticks timestamptz[];
    v_jobs bigint[];
    v_alone record;
    v_done_names text[];
    v_done_ticks timestamptz[];
BEGIN
    SELECT array_agg(own.name) INTO v_names
    FROM (
        SELECT s.name
        FROM flowstone_schedules s
        JOIN unnest(p_names, p_crons, p_timezones, p_expected) AS g(name, cron, timezone, expected)
            ON g.name = s.name
        WHERE s.next_at = g.expected
            AND s.next_at <= clock_timestamp()
            AND s.cron = g.cron
            AND s.timezone = g.timezone
            AND s.paused_at IS NULL
        ORDER BY s.name
        FOR UPDATE OF s SKIP LOCKED
    ) own;
    IF v_names IS NULL THEN
        RETURN;
    END IF;

    SELECT array_agg(t.name ORDER BY t.tick, t.name), array_agg(t.tick ORDER BY t.tick, t.name)
    INTO v_tick_names, v_ticks
    FROM unnest(p_tick_names, p_ticks) AS t(name, tick)
    WHERE t.name = ANY (v_names);
    v_jobs := flowstone_try_ticks(v_tick_names, v_ticks);
    IF v_jobs IS NULL AND v_tick_names IS NOT NULL THEN
        FOR v_alone IN
            SELECT t.name, array_agg(t.name) AS names, array_agg(t.tick ORDER BY t.tick) AS ticks, NULL::bigint[] AS jobs
            FROM unnest(v_tick_names, v_ticks) AS t(name, tick)
            GROUP BY t.name
            ORDER BY min(t.tick), t.name
        LOOP
            v_alone.jobs := flowstone_try_ticks(v_alone.names, v_alone.ticks);
            IF v_alone.jobs IS NULL THEN
                v_names := array_remove(v_names, v_alone.name);
            ELSE
                v_done_names := v_done_names || v_alone.names;
                v_done_ticks := v_done_ticks || v_alone.ticks;
                v_jobs := v_jobs || v_alone.jobs;
            END IF;
        END LOOP;
        v_tick_names := v_done_names;
        v_ticks := v_done_ticks;
    END IF;

    UPDATE flowstone_schedules s
    SET
        next_at = g.next_at,
        last_at = coalesce(done.tick, s.last_at),
        last_job_id = coalesce(done.job_id, s.last_job_id)
    FROM unnest(p_names, p_next) AS g(name, next_at)
    LEFT JOIN (
        SELECT t.name, max(t.tick) AS tick, max(t.job_id) AS job_id
        FROM unnest(v_tick_names, v_ticks, v_jobs) AS t(name, tick, job_id)
        GROUP BY t.name
    ) done ON done.name = g.name
    WHERE s.name = g.name AND s.name = ANY (v_names);

    RETURN QUERY
    SELECT moved.name, t.tick, t.job_id
    FROM unnest(v_names) AS moved(name)
    LEFT JOIN unnest(v_tick_names, v_ticks, v_jobs) AS t(name, tick, job_id) ON t.name = moved.name
    ORDER BY t.job_id, moved.name;
END;
$$;

-- Enqueue the jobs of schedules, for these ticks (null: none in particular), and return their ids in the order
-- given. Where another job holds the key of a unique one, it is that one's, and stays what it was.
CREATE FUNCTION flowstone_enqueue_ticks(p_names text[], p_ticks timestamptz[])
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_jobs bigint[];
    v_outcomes text[];
BEGIN
    SELECT array_agg(e.id ORDER BY e.place), array_agg(e.outcome ORDER BY e.place)
    INTO v_jobs, v_outcomes
    FROM (
        SELECT
            array_agg(s.job ORDER BY t.place) AS jobs,
            array_agg(s.arguments::text ORDER BY t.place) AS arguments,
            array_agg(s.queue ORDER BY t.place) AS queues,
            array_agg(s.priority ORDER BY t.place) AS priorities,
            array_agg(NULL::timestamptz) AS at,
            array_agg(NULL::bigint) AS delays,
            array_agg(s.unique_key ORDER BY t.place) AS keys,
            array_agg(s.unique_states ORDER BY t.place) AS states,
            array_agg(s.unique_window_ms ORDER BY t.place) AS windows,
            array_agg(s.unique_conflict ORDER BY t.place) AS conflicts,
            bool_or(s.unique_key IS NOT NULL) AS are_unique
        FROM unnest(p_names) WITH ORDINALITY AS t(name, place)
        JOIN flowstone_schedules s ON s.name = t.name
    ) given
    CROSS JOIN LATERAL flowstone_enqueue_jobs_v1(
        given.jobs, given.arguments, given.queues, given.priorities, given.at, given.delays,
        CASE WHEN given.are_unique THEN given.keys END,
        CASE WHEN given.are_unique THEN given.states END,
        CASE WHEN given.are_unique THEN given.windows END,
        CASE WHEN given.are_unique THEN given.conflicts END,
        NULL, NULL
    ) WITH ORDINALITY AS e(id, outcome, place)
    WHERE given.jobs IS NOT NULL;

    UPDATE flowstone_materializations m
    SET schedule = t.name, tick_at = t.tick
    FROM unnest(v_jobs, p_names, p_ticks, v_outcomes) AS t(id, name, tick, outcome)
    WHERE m.id = t.id AND t.outcome = 'created';
    RETURN v_jobs;
END;
$$;

-- The same, but null when somebody's lock would have to be waited for; nothing is enqueued then.
CREATE FUNCTION flowstone_try_ticks(p_names text[], p_ticks timestamptz[])
    RETURNS bigint[]
    LANGUAGE plpgsql
    SET lock_timeout = '100ms'
AS $$
BEGIN
    RETURN flowstone_enqueue_ticks(p_names, p_ticks);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END;
$$;

-- Enqueue the job of a schedule at once, paused or not; its ticks stay as they are. Null: no such schedule.
CREATE FUNCTION flowstone_trigger_schedule_v1(p_name text)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_job bigint;
BEGIN
    PERFORM FROM flowstone_schedules s WHERE s.name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    v_job := (flowstone_enqueue_ticks(ARRAY[p_name], ARRAY[NULL::timestamptz]))[1];
    UPDATE flowstone_schedules s SET last_job_id = v_job WHERE s.name = p_name;
    RETURN v_job;
END;
$$;
