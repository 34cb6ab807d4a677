-- Workers introduce themselves, prove that they live, and are taken over when they do not.

CREATE FUNCTION flowstone_register_worker_v1(
    p_host text, p_pid integer, p_queues text[], p_lease_ms bigint
)
    RETURNS bigint
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    INSERT INTO flowstone_workers
        (procrastinate_worker_id, host, pid, queues, lease_ms, started_at, heartbeat_at)
    SELECT pw.worker_id, p_host, p_pid, p_queues, p_lease_ms, clock_timestamp(), clock_timestamp()
    FROM procrastinate_register_worker_v1() pw
    RETURNING id;
$$;

-- False: the worker was given up, and its work taken over. A procrastinate row that a stock worker has
-- pruned is made anew, and written to the jobs that run: those without one are stalled to procrastinate's
-- tools, and people retry such jobs.
CREATE FUNCTION flowstone_heartbeat_v1(p_worker bigint)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_procrastinate_worker bigint;
BEGIN
    UPDATE flowstone_workers w SET heartbeat_at = clock_timestamp() WHERE w.id = p_worker
    RETURNING w.procrastinate_worker_id INTO v_procrastinate_worker;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- A heartbeat waits for nobody: who prunes this row may wait for long himself, for a job that somebody holds.
    UPDATE procrastinate_workers pw SET last_heartbeat = clock_timestamp()
    WHERE pw.id = (
        SELECT own.id FROM procrastinate_workers own WHERE own.id = v_procrastinate_worker
        FOR NO KEY UPDATE SKIP LOCKED
    );
    IF NOT FOUND AND NOT EXISTS (SELECT FROM procrastinate_workers pw WHERE pw.id = v_procrastinate_worker) THEN
        UPDATE flowstone_workers w
        SET procrastinate_worker_id = (SELECT worker_id FROM procrastinate_register_worker_v1())
        WHERE w.id = p_worker
        RETURNING w.procrastinate_worker_id INTO v_procrastinate_worker;
        -- Whoever holds a job is about to settle it.
        UPDATE procrastinate_jobs j SET worker_id = v_procrastinate_worker
        FROM (
            SELECT j.id
            FROM procrastinate_jobs j
            JOIN flowstone_materializations m ON m.id = j.id
            WHERE j.id = ANY (flowstone_doing())
                AND j.status = 'doing'
                AND j.worker_id IS NULL
                AND m.worker_id = p_worker
                AND m.claim = j.attempts
            FOR UPDATE OF j SKIP LOCKED
        ) own
        WHERE j.id = own.id;
    END IF;
    RETURN true;
END;
$$;

-- Jobs that run. procrastinate's unique index on lock, partial on 'doing', holds nothing else.
--
-- Their materializations are then found by id, from an array: a join would go by the planner's guess at how
-- many these are, and a guess from when the tables were empty reads all that there ever was.
CREATE FUNCTION flowstone_doing()
    RETURNS bigint[]
    LANGUAGE sql
    STABLE
AS $$
    SELECT ARRAY(SELECT j.id FROM procrastinate_jobs j WHERE j.status = 'doing');
$$;

-- Claims of this worker that somebody asked to stop.
CREATE FUNCTION flowstone_aborts_v1(p_worker bigint)
    RETURNS bigint[]
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT coalesce(array_agg(m.id), '{}')
    FROM flowstone_materializations m
    WHERE m.id = ANY (ARRAY(SELECT j.id FROM procrastinate_jobs j WHERE j.status = 'doing' AND j.abort_requested))
        AND m.worker_id = p_worker
        AND m.status = 'running';
$$;

-- Say which of the suspects that a worker owns it begins. A suspect has cost two workers their life.
CREATE FUNCTION flowstone_suspect_v1(p_worker bigint, p_id bigint)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    UPDATE flowstone_workers w SET suspect_id = p_id WHERE w.id = p_worker;
$$;

-- Take back what these workers own, and forget them; with p_only these alone, of workers that stay known. Locks:
-- jobs, materializations, runs.
--
-- A stop that was asked for is carried out. When they died, it is held against what they had begun: of the
-- suspects only the one that was named. One that it is held against for the p_max_rescues + 1st time fails.
CREATE FUNCTION flowstone_take_over(
    p_workers bigint[], p_died boolean, p_max_rescues integer, p_only bigint[] DEFAULT NULL
)
    RETURNS TABLE (worker_id bigint, materialization_id bigint)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_ids bigint[];
    v_ended bigint[];
BEGIN
    v_ids := ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        WHERE m.id = ANY (coalesce(p_only, flowstone_doing())) AND m.status = 'running' AND m.worker_id = ANY (p_workers)
    );
    PERFORM
    FROM procrastinate_jobs j
    WHERE j.id = ANY (v_ids) AND j.status = 'doing'
    ORDER BY j.id
    FOR UPDATE;
    -- While this waited for the locks a job may have been settled, and claimed by somebody else.
    v_ids := ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        WHERE m.id = ANY (v_ids) AND m.status = 'running' AND m.worker_id = ANY (p_workers)
    );

    IF v_ids <> '{}' THEN
        RETURN QUERY
        SELECT m.worker_id, m.id FROM flowstone_materializations m WHERE m.id = ANY (v_ids) ORDER BY m.id;

        WITH fate AS MATERIALIZED (
            SELECT
                m.id,
                charge.deaths,
                CASE
                    WHEN j.abort_requested THEN 'aborted'::procrastinate_job_status
                    WHEN charge.deaths > 0 AND m.rescues >= p_max_rescues THEN 'failed'
                    ELSE 'todo'
                END AS status
            FROM procrastinate_jobs j
            JOIN flowstone_materializations m ON m.id = j.id
            LEFT JOIN flowstone_workers w ON w.id = m.worker_id
            CROSS JOIN LATERAL (
                -- An assistant answers for nothing: whom it works for knows what it was at.
                SELECT (
                    p_died AND m.assists IS NULL AND w.lease_ms IS DISTINCT FROM 0
                    AND (m.rescues < 2 OR w.suspect_id IS NOT DISTINCT FROM m.id)
                )::integer AS deaths
            ) charge
            WHERE j.id = ANY (v_ids)
            ORDER BY m.id
        ),
        job AS (
            UPDATE procrastinate_jobs j
            SET status = fate.status,
                attempts = j.attempts + 1,
                worker_id = NULL,
                abort_requested = false,
                scheduled_at = NULL
            FROM fate
            WHERE j.id = fate.id
        ),
        taken AS (
            UPDATE flowstone_materializations m
            SET rescues = m.rescues + fate.deaths,
                worker_id = NULL,
                status = CASE fate.status
                    WHEN 'aborted' THEN 'cancelled'::flowstone_status
                    WHEN 'failed' THEN 'failed'
                    ELSE 'ready'
                END,
                finished_at = CASE WHEN fate.status <> 'todo' THEN clock_timestamp() END,
                error = CASE WHEN fate.status = 'failed' THEN
                    json_build_object(
                        'code', 'worker_died',
                        'message', 'its worker died ' || (m.rescues + 1) || ' times while running it'
                    )
                    ELSE m.error
                END
            FROM fate
            WHERE m.id = fate.id
            RETURNING m.id, m.status
        )
        SELECT array_agg(taken.id) FILTER (WHERE taken.status <> 'ready') INTO v_ended FROM taken;

        IF v_ended IS NOT NULL THEN
            v_ended := v_ended || flowstone_cascade(v_ended);
            PERFORM flowstone_tell_awaiting(v_ended);
            PERFORM flowstone_count_ended(v_ended);
            DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_ended);
        END IF;
        PERFORM flowstone_notify_queues(v_ids);
    END IF;

    IF p_only IS NOT NULL THEN
        RETURN;
    END IF;
    DELETE FROM procrastinate_workers pw
    USING flowstone_workers w
    WHERE w.id = ANY (p_workers) AND pw.id = w.procrastinate_worker_id;
    DELETE FROM flowstone_workers w WHERE w.id = ANY (p_workers);
END;
$$;

-- The same where somebody's lock holds up a part of it, be it of a row or of a unique key that he is about to take:
-- take back what is free, and leave the rest, and the workers, for the next time.
--
-- Called once flowstone_take_over has waited in vain.
CREATE FUNCTION flowstone_take_over_free(p_workers bigint[], p_died boolean, p_max_rescues integer)
    RETURNS TABLE (worker_id bigint, materialization_id bigint)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_free bigint[];
    v_alone bigint[];
    v_id bigint;
    v_held integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', '20ms', true);
    v_free := flowstone_lock_waits(ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        WHERE m.id = ANY (flowstone_doing()) AND m.status = 'running' AND m.worker_id = ANY (p_workers)
    ), false);
    -- What takes a key on its way back, or ends, needs locks of more than its own rows.
    v_alone := ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        JOIN procrastinate_jobs j ON j.id = m.id
        WHERE m.id = ANY (v_free)
            AND (m.unique_key IS NOT NULL OR j.abort_requested OR p_died AND m.rescues >= p_max_rescues)
    );
    RETURN QUERY
    SELECT * FROM flowstone_take_over(
        p_workers, p_died, p_max_rescues, ARRAY(SELECT unnest(v_free) EXCEPT SELECT unnest(v_alone))
    );
    -- One by one, in no order: where much is held up, what is not has its chance the next time.
    FOR v_id IN SELECT alone.id FROM unnest(v_alone) alone(id) ORDER BY random() LOOP
        BEGIN
            RETURN QUERY SELECT * FROM flowstone_take_over(p_workers, p_died, p_max_rescues, ARRAY[v_id]);
        EXCEPTION WHEN lock_not_available THEN
            v_held := v_held + 1;
            EXIT WHEN v_held = 100;
        END;
    END LOOP;
END;
$$;

-- Take over from workers that have not beaten for their own lease; every worker does this now and then, and does not
-- take itself for dead.
--
-- What somebody's lock holds up for long is left for the next time, and its worker known until then; the others do
-- not wait with it.
CREATE FUNCTION flowstone_rescue_v1(p_max_rescues integer, p_rescuer bigint DEFAULT NULL)
    RETURNS TABLE (worker_id bigint, materialization_id bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
    SET lock_timeout = '500ms'
AS $$
#variable_conflict use_column
DECLARE
    v_dead bigint[];
BEGIN
    SELECT array_agg(w.id) INTO v_dead
    FROM (
        SELECT w.id
        FROM flowstone_workers w
        WHERE w.heartbeat_at < clock_timestamp() - w.lease_ms * interval '1 ms' AND w.id IS DISTINCT FROM p_rescuer
        ORDER BY w.id
        FOR UPDATE SKIP LOCKED
    ) w;
    -- A turn that was under way when its worker was given up claims for nobody.
    v_dead := v_dead || ARRAY(
        SELECT DISTINCT m.worker_id
        FROM flowstone_materializations m
        WHERE m.id = ANY (flowstone_doing())
            AND m.status = 'running'
            AND NOT EXISTS (SELECT FROM flowstone_workers w WHERE w.id = m.worker_id)
    );
    IF v_dead = '{}' THEN
        RETURN;
    END IF;
    BEGIN
        RETURN QUERY SELECT * FROM flowstone_take_over(v_dead, true, p_max_rescues);
    EXCEPTION WHEN lock_not_available THEN
        RETURN QUERY SELECT * FROM flowstone_take_over_free(v_dead, true, p_max_rescues);
    END;
END;
$$;

-- Say goodbye. What the worker still owns goes back at once, which is not held against it; what somebody's lock holds
-- up does so with the next rescue, as if the worker had none of its lease left.
CREATE FUNCTION flowstone_unregister_worker_v1(p_worker bigint)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
    SET lock_timeout = '500ms'
AS $$
BEGIN
    PERFORM FROM flowstone_workers w WHERE w.id = p_worker FOR UPDATE;
    BEGIN
        PERFORM * FROM flowstone_take_over(ARRAY[p_worker], false, 0);
    EXCEPTION WHEN lock_not_available THEN
        UPDATE flowstone_workers w SET lease_ms = 0 WHERE w.id = p_worker;
        PERFORM * FROM flowstone_take_over_free(ARRAY[p_worker], false, 0);
    END;
END;
$$;
