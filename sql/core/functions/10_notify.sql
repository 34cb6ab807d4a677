-- Tell workers of these queues to look again, in the words that a stock worker understands too.
-- For jobs that become due by an update; an insert notifies by trigger.
CREATE FUNCTION flowstone_notify_queues(p_job_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_notify(
        'procrastinate_queue_v1#' || due.queue_name,
        json_build_object('type', 'job_inserted', 'job_id', due.id)::text
    )
    FROM (
        SELECT j.queue_name, max(j.id) AS id
        FROM procrastinate_jobs j
        WHERE j.id = ANY (p_job_ids) AND j.status::text = 'todo' AND j.scheduled_at IS NULL
        GROUP BY j.queue_name
    ) due;
END;
$$;

-- Tell everybody who waits for these jobs that they have ended.
CREATE FUNCTION flowstone_notify_jobs(p_job_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_payload text := json_build_object('jobs', to_json(p_job_ids))::text;
BEGIN
    IF octet_length(v_payload) > 7000 THEN
        v_payload := '{"jobs": "all"}';
    END IF;
    PERFORM pg_notify('flowstone#' || current_schema(), v_payload);
END;
$$;

-- Tell everybody who follows these runs that they moved; one notification for all of them.
-- The channel carries the schema, as channels are database-wide.
CREATE FUNCTION flowstone_notify_runs(p_run_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_payload text := json_build_object('runs', to_json(p_run_ids))::text;
BEGIN
    -- A payload is limited to 8000 bytes; "look at all" is right for a crowd.
    IF octet_length(v_payload) > 7000 THEN
        v_payload := '{"runs": "all"}';
    END IF;
    PERFORM pg_notify('flowstone#' || current_schema(), v_payload);
END;
$$;
