-- Cancel the jobs that are to be done, and ask those that run to stop. Returns the ids of what was to be done.
--
-- Locks the jobs, in their order. Rows are found by ids in arrays: joined or sorted, they are found as the planner
-- guesses, which may be by reading all there is.
CREATE FUNCTION flowstone_stop_jobs(p_ids bigint[])
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_held bigint[];
    v_todo bigint[];
BEGIN
    v_held := ARRAY(
        SELECT j.id FROM procrastinate_jobs j
        WHERE j.id = ANY (p_ids) AND j.status IN ('todo', 'doing')
        ORDER BY j.id
        FOR UPDATE
    );
    -- No others: one that a turn has inserted since may be claimed between two statements.
    UPDATE procrastinate_jobs j SET abort_requested = true
    WHERE j.id = ANY (v_held) AND j.status = 'doing' AND NOT j.abort_requested;
    WITH stopped AS (
        UPDATE procrastinate_jobs j SET status = 'cancelled'
        WHERE j.id = ANY (v_held) AND j.status::text = 'todo'
        RETURNING j.id
    )
    SELECT coalesce(array_agg(stopped.id), '{}') INTO v_todo FROM stopped;
    RETURN v_todo;
END;
$$;

-- Cancel what a run has not started, and ask for what runs to stop. Returns how many were not terminal.
--
-- Locks: jobs, materializations, run. A turn in flight may make a pending row ready between two statements, or
-- begin it, and a retry may put a running one back, so it looks again until nothing is left to cancel, and all
-- that runs is asked to stop.
CREATE FUNCTION flowstone_cancel_run_v1(p_run bigint)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_jobs bigint[];
    v_all bigint[] := '{}';
    v_running bigint;
BEGIN
    PERFORM FROM flowstone_runs r WHERE r.id = p_run;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no run %', p_run USING ERRCODE = 'FS002', DETAIL = p_run;
    END IF;

    PERFORM set_config('flowstone_job.is_own', 'yes', true);
    LOOP
        -- All jobs first, those that run too: whoever settles holds his jobs when he takes the rest.
        v_jobs := flowstone_stop_jobs(ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.run_id = p_run AND m.status IN ('ready', 'waiting', 'running')
        ));

        WITH open AS MATERIALIZED (
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.id = ANY (ARRAY(SELECT id FROM flowstone_materializations WHERE run_id = p_run))
                AND (
                    m.status = 'pending'
                    OR m.id = ANY (v_jobs)
                    OR m.status IN ('ready', 'waiting') AND NOT EXISTS (
                        -- Gone, ended, or grabbed by a worker that is not ours.
                        SELECT FROM procrastinate_jobs j WHERE j.id = m.id AND j.status::text = 'todo'
                    )
                )
            ORDER BY m.id
            FOR UPDATE
        ),
        cancelled AS (
            UPDATE flowstone_materializations m
            SET status = 'cancelled', finished_at = clock_timestamp()
            FROM open
            WHERE m.id = open.id
                AND (
                    m.status IN ('pending', 'ready', 'waiting')
                    -- Its job was to do: somebody had taken it from its worker.
                    OR m.status = 'running' AND m.id = ANY (v_jobs)
                )
            RETURNING m.id
        )
        SELECT v_all || coalesce(array_agg(cancelled.id), '{}') INTO v_all FROM cancelled;

        EXIT WHEN NOT EXISTS (
            SELECT FROM flowstone_materializations m
            WHERE m.run_id = p_run AND m.status IN ('pending', 'ready', 'waiting')
        ) AND NOT EXISTS (
            SELECT FROM procrastinate_jobs j
            WHERE j.id = ANY (ARRAY(
                    SELECT m.id FROM flowstone_materializations m WHERE m.run_id = p_run AND m.status = 'running'
                ))
                AND j.status = 'doing'
                AND NOT j.abort_requested
        );
    END LOOP;
    SELECT count(*) INTO v_running
    FROM flowstone_materializations m
    WHERE m.run_id = p_run AND m.status = 'running' AND m.assists IS NULL;

    -- The run's own row comes last: whoever settles holds materializations when it takes that lock.
    UPDATE flowstone_runs r SET cancel_requested_at = coalesce(r.cancel_requested_at, clock_timestamp())
    WHERE r.id = p_run AND r.status = 'running';
    PERFORM flowstone_count_ended(v_all);
    DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_all);
    PERFORM pg_notify('flowstone#' || current_schema(), '{"abort": true}');
    RETURN v_running + (
        SELECT count(*) FROM flowstone_materializations m WHERE m.id = ANY (v_all) AND m.assists IS NULL
    );
END;
$$;

-- Cancel jobs that have not started, and ask those that run to stop. Returns how many had not ended.
--
-- Locks: jobs, materializations. Ids of assets' materializations are left alone: their run is cancelled.
CREATE FUNCTION flowstone_cancel_jobs_v1(p_ids bigint[])
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_ids bigint[];
    v_todo bigint[];
    v_cancelled bigint[];
    v_running bigint;
BEGIN
    PERFORM set_config('flowstone_job.is_own', 'yes', true);
    v_ids := ARRAY(SELECT m.id FROM flowstone_materializations m WHERE m.id = ANY (p_ids) AND m.run_id IS NULL);
    v_todo := flowstone_stop_jobs(v_ids);

    WITH cancelled AS (
        UPDATE flowstone_materializations m
        SET status = 'cancelled', finished_at = clock_timestamp()
        WHERE m.id = ANY (v_ids)
            AND (
                -- Also one that runs while its job is to do: somebody has taken it from its worker.
                m.id = ANY (v_todo) AND m.status IN ('ready', 'waiting', 'running')
                OR m.status IN ('ready', 'waiting') AND NOT EXISTS (
                    -- Gone, ended, or grabbed by a worker that is not ours.
                    SELECT FROM procrastinate_jobs j WHERE j.id = m.id AND j.status::text = 'todo'
                )
            )
        RETURNING m.id
    )
    SELECT coalesce(array_agg(cancelled.id), '{}') INTO v_cancelled FROM cancelled;
    SELECT count(*) INTO v_running
    FROM flowstone_materializations m
    WHERE m.id = ANY (v_ids) AND m.status = 'running';

    PERFORM flowstone_count_ended(v_cancelled);
    DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_cancelled);
    IF v_running > 0 THEN
        PERFORM pg_notify('flowstone#' || current_schema(), '{"abort": true}');
    END IF;
    RETURN cardinality(v_cancelled) + v_running;
END;
$$;
