-- Cancel what a materialization awaits no longer, and what nobody else needs.

-- Of some materializations that p_by awaits, those that are open and of no use to anybody else; then, of what they
-- were to be made from, the same, however far. What the run was for is of use by itself.
CREATE FUNCTION flowstone_useless(p_by bigint, p_ids bigint[])
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_gone bigint[] := ARRAY[p_by];
    v_wave bigint[] := p_ids;
BEGIN
    WHILE v_wave <> '{}' LOOP
        v_wave := ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            JOIN flowstone_materializations b ON b.id = p_by
            JOIN flowstone_runs r ON r.id = m.run_id
            WHERE m.id = ANY (v_wave)
                AND m.id <> ALL (v_gone)
                AND m.run_id = b.run_id
                AND NOT flowstone_is_terminal(m.status)
                AND NOT EXISTS (
                    SELECT FROM flowstone_materializations user_of_it
                    WHERE user_of_it.id = ANY (m.dependents || m.optional_dependents || m.awaited_by)
                        AND user_of_it.id <> ALL (v_gone)
                        AND NOT flowstone_is_terminal(user_of_it.status)
                )
                AND NOT EXISTS (
                    SELECT FROM json_array_elements(r.targets) target
                    WHERE target ->> 'asset' = m.asset AND target ->> 'partition' = m.partition
                )
            ORDER BY m.id
        );
        v_gone := v_gone || v_wave;
        v_wave := ARRAY(
            SELECT DISTINCT upstream.id
            FROM flowstone_materializations m
            CROSS JOIN unnest(m.inputs || m.follows || m.awaits) AS upstream(id)
            WHERE m.id = ANY (v_wave)
        );
    END LOOP;
    RETURN array_remove(v_gone, p_by);
END;
$$;

-- Cancel them, for the materialization that runs under this claim, and return how many were open; see
-- flowstone_cancel_run_v1, which does the same with a run. The run is not called failed or cancelled for them.
--
-- Locks: jobs, materializations, run. It looks again until nothing is left that could be cancelled, and all that
-- runs is asked to stop.
CREATE FUNCTION flowstone_give_up_v1(p_by bigint, p_claim integer, p_ids bigint[], p_reason text)
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
    v_wave bigint[];
    v_cancelled bigint[] := '{}';
    v_running bigint;
    v_is_done boolean;
BEGIN
    PERFORM set_config('flowstone_job.is_own', 'yes', true);
    v_ids := flowstone_useless(p_by, ARRAY(
        SELECT unnest(m.awaits) FROM flowstone_materializations m WHERE m.id = p_by
        INTERSECT
        SELECT unnest(p_ids)
    ));
    LOOP
        v_ids := v_ids || ARRAY(
            SELECT m.id FROM flowstone_materializations m
            WHERE m.assists = ANY (v_ids) AND NOT flowstone_is_terminal(m.status) AND m.id <> ALL (v_ids)
        );
        PERFORM FROM procrastinate_jobs j WHERE j.id = ANY (v_ids || p_by) ORDER BY j.id FOR UPDATE;
        PERFORM FROM flowstone_materializations m
        WHERE m.id = p_by AND m.status = 'running' AND m.claim = p_claim;
        IF NOT FOUND THEN
            RETURN 0;
        END IF;
        v_todo := flowstone_stop_jobs(v_ids);

        WITH open AS MATERIALIZED (
            SELECT m.id, m.status
            FROM flowstone_materializations m
            WHERE m.id = ANY (v_ids) AND NOT flowstone_is_terminal(m.status)
            ORDER BY m.id
            FOR UPDATE
        ),
        fate AS (
            SELECT
                open.id,
                open.id = ANY (v_todo) OR open.status = 'pending'
                OR open.status IN ('ready', 'waiting') AND NOT EXISTS (
                    -- Gone, ended, or grabbed by a worker that is not ours.
                    SELECT FROM procrastinate_jobs j WHERE j.id = open.id AND j.status::text = 'todo'
                ) AS is_over
            FROM open
        ),
        moved AS (
            UPDATE flowstone_materializations m
            SET is_tolerated = true,
                status = CASE WHEN fate.is_over THEN 'cancelled' ELSE m.status END,
                finished_at = CASE WHEN fate.is_over THEN clock_timestamp() END,
                error = CASE WHEN fate.is_over THEN json_build_object('message', p_reason) ELSE m.error END
            FROM fate
            WHERE m.id = fate.id
            RETURNING m.id, m.status
        )
        SELECT coalesce(array_agg(moved.id) FILTER (WHERE moved.status = 'cancelled'), '{}') INTO v_wave FROM moved;
        v_cancelled := v_cancelled || v_wave;

        SELECT
            count(*) FILTER (WHERE m.status = 'running' AND m.assists IS NULL),
            coalesce(array_agg(m.id), '{}'),
            coalesce(bool_and(m.status = 'running'), true)
        INTO v_running, v_ids, v_is_done
        FROM flowstone_materializations m
        WHERE m.id = ANY (v_ids) AND NOT flowstone_is_terminal(m.status);
        EXIT WHEN v_is_done AND NOT EXISTS (
            SELECT FROM procrastinate_jobs j
            WHERE j.id = ANY (v_ids) AND j.status = 'doing' AND NOT j.abort_requested
        );
    END LOOP;

    IF v_cancelled <> '{}' THEN
        v_wave := flowstone_cascade(v_cancelled);
        v_cancelled := v_cancelled || v_wave;
        PERFORM flowstone_tell_awaiting(v_cancelled);
        PERFORM flowstone_count_ended(v_cancelled);
        DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_cancelled);
    END IF;
    IF v_ids <> '{}' THEN
        PERFORM pg_notify('flowstone#' || current_schema(), '{"abort": true}');
    END IF;
    RETURN v_running + (
        SELECT count(*) FROM flowstone_materializations m WHERE m.id = ANY (v_cancelled) AND m.assists IS NULL
    );
END;
$$;
