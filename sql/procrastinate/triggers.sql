-- Replace procrastinate's six row triggers on its jobs, together, by triggers that work once per statement.
--
-- They write the same event rows for every transition, and notify once per queue and statement instead of
-- twice per row. The payload is procrastinate's, with the highest id of the queue: its workers only take
-- "something is there" from it. The stock triggers are disabled, not dropped; restore.sql turns this back.
-- Running this file again changes nothing.
--
-- Each function captures the schema, which the stock ones do not: a statement typed into psql without a
-- search_path leaves its events too.

-- Whether a turn writes the events of the jobs that it moves with the statement that moves them, and tells these
-- triggers so (flowstone_turn.is_quiet = 'all'); beside procrastinate's own triggers it must not. What a trigger of
-- that statement does to other jobs is not its own, and one level deeper.
CREATE OR REPLACE FUNCTION flowstone_writes_events() RETURNS boolean
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT true;
$$;

-- One row per job that can be fetched, and one 'scheduled' row when it has a date.
CREATE OR REPLACE FUNCTION flowstone_jobs_inserted_v1() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    v_quiet text := current_setting('flowstone_turn.is_quiet', true);
BEGIN
    IF v_quiet = 'all' AND pg_trigger_depth() = 1 THEN
        RETURN NULL;
    END IF;
    INSERT INTO procrastinate_events (job_id, type, at)
    SELECT id, 'deferred'::procrastinate_job_event_type, now() FROM inserted
    WHERE status = 'todo'
    UNION ALL
    SELECT id, 'scheduled', scheduled_at FROM inserted
    WHERE status = 'todo' AND scheduled_at IS NOT NULL;

    -- A turn notifies by itself, of what it leaves to others.
    IF v_quiet = 'on' THEN
        RETURN NULL;
    END IF;
    -- The empty grouping set is the channel that belongs to no queue.
    PERFORM pg_notify(
        coalesce('procrastinate_queue_v1#' || queue_name, 'procrastinate_any_queue_v1'),
        json_build_object('type', 'job_inserted', 'job_id', max(id))::text
    )
    FROM inserted
    WHERE status = 'todo'
    GROUP BY GROUPING SETS ((queue_name), ())
    HAVING count(*) > 0;
    RETURN NULL;
END;
$$;

-- One row per change of status that procrastinate records, and one 'scheduled' row per update of a job
-- that waits for its date. The plan is made once per session, perhaps for a statement of one row, and
-- must also serve one of ten thousand: joined by hash it cannot become quadratic, whatever the statement
-- around it has switched off for itself.
CREATE OR REPLACE FUNCTION flowstone_jobs_updated_v1() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
BEGIN
    IF current_setting('flowstone_turn.is_quiet', true) = 'all' AND pg_trigger_depth() = 1 THEN
        RETURN NULL;
    END IF;
    INSERT INTO procrastinate_events (job_id, type, at)
    SELECT id, type, now()
    FROM (
        SELECT id, CASE before.status
            WHEN 'todo' THEN CASE after.status
                WHEN 'doing' THEN 'started'
                WHEN 'cancelled' THEN 'cancelled'
                WHEN 'failed' THEN 'cancelled'
                WHEN 'succeeded' THEN 'cancelled'
            END
            WHEN 'doing' THEN CASE after.status
                WHEN 'todo' THEN 'deferred_for_retry'
                WHEN 'failed' THEN 'failed'
                WHEN 'succeeded' THEN 'succeeded'
                WHEN 'aborted' THEN 'aborted'
            END
            WHEN 'failed' THEN CASE after.status
                WHEN 'todo' THEN 'retried'
            END
        END::procrastinate_job_event_type AS type
        FROM before
        JOIN after USING (id)
    ) AS changes
    WHERE type IS NOT NULL
    UNION ALL
    SELECT id, 'scheduled', scheduled_at FROM after
    WHERE status = 'todo' AND scheduled_at IS NOT NULL;
    RETURN NULL;
END;
$$;

-- A request to abort is rare, and each one has to reach the worker that runs the job. It stays by row:
-- procrastinate also records a request that repeats one, and only a trigger with a column list can tell
-- that repetition from an update of something else.
CREATE OR REPLACE FUNCTION flowstone_job_abort_requested_v1() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    v_payload text := json_build_object('type', 'abort_job_requested', 'job_id', NEW.id);
BEGIN
    INSERT INTO procrastinate_events (job_id, type) VALUES (NEW.id, 'abort_requested');
    IF NOT OLD.abort_requested AND NEW.status = 'doing' THEN
        PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, v_payload);
        PERFORM pg_notify('procrastinate_any_queue_v1', v_payload);
    END IF;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER flowstone_jobs_inserted
    AFTER INSERT ON procrastinate_jobs
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION flowstone_jobs_inserted_v1();

CREATE OR REPLACE TRIGGER flowstone_jobs_updated
    AFTER UPDATE ON procrastinate_jobs
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION flowstone_jobs_updated_v1();

CREATE OR REPLACE TRIGGER flowstone_job_abort_requested
    AFTER UPDATE OF abort_requested ON procrastinate_jobs
    FOR EACH ROW WHEN (NEW.abort_requested)
    EXECUTE FUNCTION flowstone_job_abort_requested_v1();

ALTER TABLE procrastinate_jobs
    DISABLE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1,
    DISABLE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1,
    DISABLE TRIGGER procrastinate_trigger_status_events_insert_v1,
    DISABLE TRIGGER procrastinate_trigger_status_events_update_v1,
    DISABLE TRIGGER procrastinate_trigger_scheduled_events_v1,
    DISABLE TRIGGER procrastinate_trigger_abort_requested_events_v1,
    ENABLE TRIGGER flowstone_jobs_inserted,
    ENABLE TRIGGER flowstone_jobs_updated,
    ENABLE TRIGGER flowstone_job_abort_requested;
