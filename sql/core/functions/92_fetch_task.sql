-- procrastinate_fetch_job_v2 for all jobs but ours: the same order, locks and due times.
--
-- Our connector calls it in the other's place, so no worker that goes through it takes a job of ours,
-- whatever queues it serves. Ours are in neither of the indexes: a million of them cost nothing here.
CREATE FUNCTION flowstone_fetch_task_v1(p_queues varchar[], p_worker bigint)
    RETURNS procrastinate_jobs
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_job procrastinate_jobs;
BEGIN
    WITH candidate AS MATERIALIZED (
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.status = 'todo'
            AND j.task_name <> 'flowstone:materialize'
            AND j.task_name <> 'flowstone:keyed'
            AND (p_queues IS NULL OR j.queue_name = ANY (p_queues))
            AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
            -- CASE keeps the planner from joining every job with every other.
            AND CASE WHEN j.lock IS NULL THEN true ELSE NOT EXISTS (
                SELECT
                FROM procrastinate_jobs o
                WHERE o.lock = j.lock
                    AND o.status IN ('todo', 'doing')
                    AND (
                        o.status = 'doing'
                        OR o.priority > j.priority
                        OR (o.priority = j.priority AND o.id < j.id)
                    )
            ) END
        ORDER BY j.priority DESC, j.id
        LIMIT 1
        FOR UPDATE OF j SKIP LOCKED
    )
    UPDATE procrastinate_jobs j
    SET status = 'doing', worker_id = p_worker
    FROM candidate
    WHERE j.id = candidate.id
    RETURNING j.* INTO v_job;
    RETURN v_job;
END;
$$;
