-- Start the one materialization that has just become ready, if it is of the run or of a queue with a free slot,
-- and return its queue; null: it was not started.
--
-- Its job is inserted as one that a worker has, with the events of one that was enqueued and claimed: the next
-- step of a chain costs one row of a job, and not that and two updates.
CREATE FUNCTION flowstone_start_ready(
    p_id bigint, p_queues text[], p_slots integer[], p_run bigint, p_procrastinate_worker bigint
)
    RETURNS text
    LANGUAGE plpgsql
AS $$
DECLARE
    v_queue text;
    v_quiet text := set_config('flowstone_turn.is_quiet', 'all', true);
BEGIN
    WITH job AS (
        INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args, status, worker_id)
        SELECT
            m.id, m.queue, 'flowstone:materialize', m.priority,
            jsonb_build_object('run_id', m.run_id, 'asset', m.asset, 'partition', m.partition),
            'doing', p_procrastinate_worker
        FROM flowstone_materializations m
        WHERE m.id = p_id
            AND CASE WHEN p_run IS NULL THEN p_slots[array_position(p_queues, m.queue)] > 0 ELSE m.run_id = p_run END
        RETURNING id, queue_name
    ),
    events AS (
        INSERT INTO procrastinate_events (job_id, type, at)
        SELECT job.id, step.type, now()
        FROM job
        CROSS JOIN unnest('{deferred,started}'::procrastinate_job_event_type[]) AS step(type)
    )
    SELECT job.queue_name INTO v_queue FROM job;
    v_quiet := set_config('flowstone_turn.is_quiet', 'off', true);
    RETURN v_queue;
END;
$$;
