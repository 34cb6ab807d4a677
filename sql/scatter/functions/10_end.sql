-- The status that a barrier takes by itself; null: it goes on. A rate equal to the threshold is tolerated.
CREATE FUNCTION scatter_judge(p_barrier scatter_barriers)
    RETURNS text
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_barrier.status <> 'executing' THEN NULL
        WHEN p_barrier.failed > 0 AND p_barrier.failure_mode = 'all_or_nothing' THEN 'failed'
        -- Of a part of the items no rate says anything.
        WHEN NOT p_barrier.is_closed THEN NULL
        WHEN p_barrier.failed > p_barrier.total * p_barrier.failure_threshold
            AND p_barrier.failed / p_barrier.total::double precision > p_barrier.failure_threshold THEN 'failed'
        WHEN p_barrier.completed + p_barrier.failed < p_barrier.total THEN NULL
        WHEN p_barrier.failed = 0 THEN 'completed'
        ELSE 'partial_failure'
    END;
$$;

-- Let everybody know that a barrier has ended: its row has the status already, and the caller holds it.
-- Locks: the jobs of its materialization and of the pumps, then as waking and dismissing do.
CREATE FUNCTION scatter_tell_end(p_barrier bigint, p_status text)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM scatter_chunks c WHERE c.materialization_id = p_barrier;
    DELETE FROM scatter_pumps s WHERE s.materialization_id = p_barrier;
    PERFORM FROM procrastinate_jobs j WHERE j.id = p_barrier FOR UPDATE;
    PERFORM flowstone_dismiss_assistants_v1(p_barrier);
    PERFORM flowstone_wake_v1(p_barrier, json_build_object('status', p_status)::text);
END;
$$;

-- Whether a barrier's materialization has ended by another way: its run was cancelled.
CREATE FUNCTION scatter_is_abandoned(p_barrier bigint)
    RETURNS boolean
    LANGUAGE sql
    STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM flowstone_materializations m
        WHERE m.id = p_barrier AND m.status IN ('succeeded', 'failed', 'skipped', 'cancelled', 'upstream_failed')
    );
$$;

-- End a barrier that is executing: 'cancelled', or 'failed' with what it failed with. False: it had ended.
CREATE FUNCTION scatter_end_v1(p_barrier bigint, p_status text, p_error text)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE scatter_barriers b
    SET status = p_status, error = p_error::json, finished_at = clock_timestamp()
    WHERE b.materialization_id = p_barrier AND b.status = 'executing';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM scatter_tell_end(p_barrier, p_status);
    RETURN true;
END;
$$;
