-- Note what others do to our jobs, so that reconciling reads these notes and nothing else.
--
-- Whatever is not a settlement, a claim or a cancelled run is noted: procrastinate's commands and
-- JobManager, a worker of its that takes every queue, somebody with psql. A note is a hint and not a
-- verdict: one too many costs a look.
--
-- What is ours is told apart by the row: a job that leaves one of our workers leaves worker_id null, which
-- procrastinate never does. So a settlement costs no more than the condition of the trigger. (A job whose
-- worker_id was null before, since a stock worker had pruned our row, is noted, for nothing.) Functions of
-- ours that end or delete jobs in other ways say so for their transaction: flowstone_job.is_own.
--
-- The notes are written with the rights of the tables' owner: a role that may use procrastinate's tables
-- alone can go on doing so. Beside procrastinate's triggers as beside ours these stay on. Running this
-- file again changes nothing.
CREATE OR REPLACE FUNCTION flowstone_note_intervention_v1() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.status = 'doing' OR NOT (OLD.status = 'doing' OR OLD.status = 'todo' AND NEW.status <> 'todo') THEN
            RETURN NULL;
        END IF;
    END IF;
    IF OLD.task_name NOT IN ('flowstone:materialize', 'flowstone:keyed')
        OR coalesce(current_setting('flowstone_job.is_own', true), '') <> ''
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO flowstone_interventions (job_id, was, by_role, by_application)
    VALUES (OLD.id, OLD.status, session_user, current_setting('application_name'));
    PERFORM pg_notify('flowstone#' || current_schema(), '{"intervention": true}');
    RETURN NULL;
END;
$$;

-- TRUNCATE is as if all were deleted. Ids that have been given are not given again: materializations have them, too.
CREATE OR REPLACE FUNCTION flowstone_note_truncation_v1() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_sequence regclass := pg_get_serial_sequence('procrastinate_jobs', 'id');
    v_last bigint;
BEGIN
    IF TG_WHEN = 'BEFORE' THEN
        PERFORM set_config('flowstone_job.last_id', coalesce(pg_sequence_last_value(v_sequence), 0)::text, true);
        INSERT INTO flowstone_interventions (job_id, was, by_role, by_application)
        SELECT j.id, j.status, session_user, current_setting('application_name')
        FROM procrastinate_jobs j
        WHERE j.status IN ('todo', 'doing') AND j.task_name IN ('flowstone:materialize', 'flowstone:keyed')
        ORDER BY j.id;
        IF FOUND THEN
            PERFORM pg_notify('flowstone#' || current_schema(), '{"intervention": true}');
        END IF;
    ELSE
        v_last := current_setting('flowstone_job.last_id', true)::bigint;
        -- RESTART IDENTITY has begun again with 1.
        IF coalesce(pg_sequence_last_value(v_sequence), 0) < v_last AND EXISTS (SELECT FROM flowstone_materializations) THEN
            PERFORM setval(v_sequence, v_last);
        END IF;
    END IF;
    RETURN NULL;
END;
$$;

-- The condition is short, as every statement that updates jobs reads and plans it anew, and each turn has two: what
-- turns need not ask is asked in the function. They give a job a worker, or take it from its worker.
CREATE OR REPLACE TRIGGER flowstone_job_moved
    AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (NOT OLD.worker_id IS DISTINCT FROM NEW.worker_id)
    EXECUTE FUNCTION flowstone_note_intervention_v1();

CREATE OR REPLACE TRIGGER flowstone_job_deleted
    AFTER DELETE ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status IN ('todo', 'doing'))
    EXECUTE FUNCTION flowstone_note_intervention_v1();

CREATE OR REPLACE TRIGGER flowstone_jobs_go
    BEFORE TRUNCATE ON procrastinate_jobs
    EXECUTE FUNCTION flowstone_note_truncation_v1();

CREATE OR REPLACE TRIGGER flowstone_jobs_gone
    AFTER TRUNCATE ON procrastinate_jobs
    EXECUTE FUNCTION flowstone_note_truncation_v1();

ALTER TABLE procrastinate_jobs
    ENABLE TRIGGER flowstone_job_moved,
    ENABLE TRIGGER flowstone_job_deleted,
    ENABLE TRIGGER flowstone_jobs_go,
    ENABLE TRIGGER flowstone_jobs_gone;
