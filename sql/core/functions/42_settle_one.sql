-- Settle one claim that succeeded: for the next step of a chain, what flowstone_settle does for any batch.
--
-- Alone, a batch costs mostly the start and the end of a plan that could do everything; here each statement knows
-- its only row, and half of them have nothing to do. A test holds that both leave the same.
-- Locks: as flowstone_settle.
CREATE FUNCTION flowstone_settle_one(
    p_worker bigint,
    p_id bigint,
    p_claim integer,
    p_value text,
    p_io text,
    p_location text,
    p_version text,
    p_duration_ms integer
)
    RETURNS flowstone_settled
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_result flowstone_settled;
    v_job bigint;
    v_run bigint;
    v_asset text;
    v_partition text;
    v_inputs bigint[];
    v_next bigint[];
    v_has_wait boolean;
    v_is_awaited boolean;
    v_awaited_by bigint[];
    v_quiet text := set_config('flowstone_turn.is_quiet', 'all', true);
BEGIN
    WITH job AS (
        UPDATE procrastinate_jobs j
        SET attempts = j.attempts + 1, worker_id = NULL, abort_requested = false, status = 'succeeded'
        FROM flowstone_materializations m
        WHERE j.id = p_id
            AND j.status = 'doing'
            AND j.attempts = p_claim
            AND m.id = p_id
            AND m.status = 'running'
            AND m.worker_id = p_worker
            AND m.claim = p_claim
        RETURNING j.id
    ),
    event AS (
        INSERT INTO procrastinate_events (job_id, type, at)
        SELECT job.id, 'succeeded', now() FROM job WHERE flowstone_writes_events()
    )
    SELECT job.id INTO v_job FROM job;
    v_quiet := set_config('flowstone_turn.is_quiet', 'off', true);
    IF v_job IS NULL THEN
        v_result.refused := ARRAY[p_id];
        RETURN v_result;
    END IF;

    UPDATE flowstone_materializations m
    SET status = 'succeeded',
        finished_at = v_now,
        duration_ms = p_duration_ms,
        version = p_version,
        io = p_io,
        location = p_location::json,
        error = NULL
    WHERE m.id = p_id
    RETURNING
        m.run_id, m.asset, m.partition, m.inputs, m.dependents || m.optional_dependents || m.starts,
        m.has_wait, m.is_awaited, m.awaited_by
    INTO v_run, v_asset, v_partition, v_inputs, v_next, v_has_wait, v_is_awaited, v_awaited_by;
    IF p_value IS NOT NULL THEN
        INSERT INTO flowstone_values (materialization_id, size_bytes, value)
        VALUES (p_id, octet_length(p_value), p_value::json);
    END IF;
    IF v_inputs <> '{}' THEN
        INSERT INTO flowstone_lineage (materialization_id, upstream_id) SELECT p_id, unnest(v_inputs);
    END IF;
    IF cardinality(v_next) = 1 THEN
        UPDATE flowstone_materializations m
        SET unmet = m.unmet - 1, status = CASE WHEN m.unmet = 1 THEN 'ready' ELSE m.status END
        WHERE m.id = v_next[1] AND m.status = 'pending'
        RETURNING CASE WHEN m.unmet = 0 THEN v_next END INTO v_result.made_ready;
    ELSIF v_next <> '{}' THEN
        WITH met AS MATERIALIZED (
            SELECT edge.dependent, count(*) AS edges
            FROM unnest(v_next) AS edge(dependent)
            GROUP BY edge.dependent
            ORDER BY edge.dependent
        ),
        released AS (
            UPDATE flowstone_materializations m
            SET unmet = m.unmet - met.edges,
                status = CASE WHEN m.unmet = met.edges THEN 'ready' ELSE m.status END
            FROM met
            WHERE m.id = met.dependent AND m.status = 'pending'
            RETURNING m.id, m.unmet
        )
        SELECT array_agg(r.id) INTO v_result.made_ready FROM released r WHERE r.unmet = 0;
    END IF;
    IF v_run IS NOT NULL THEN
        INSERT INTO flowstone_current AS c (asset, partition, materialization_id)
        VALUES (v_asset, v_partition, p_id)
        ON CONFLICT (asset, partition) DO UPDATE
        SET materialization_id = excluded.materialization_id, invalidated_at = NULL;
    END IF;
    IF v_awaited_by IS NOT NULL THEN
        PERFORM flowstone_tell_awaiting(ARRAY[p_id]);
    END IF;
    IF v_run IS NOT NULL THEN
        PERFORM flowstone_count_succeeded(v_run, 1);
    END IF;
    IF v_has_wait THEN
        DELETE FROM flowstone_waits w WHERE w.materialization_id = p_id;
    END IF;
    IF v_is_awaited THEN
        PERFORM flowstone_notify_jobs(ARRAY[p_id]);
    END IF;
    RETURN v_result;
END;
$$;
