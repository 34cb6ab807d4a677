-- Give procrastinate its own triggers back. Running this file again changes nothing.

DROP TRIGGER IF EXISTS flowstone_jobs_inserted ON procrastinate_jobs;
DROP TRIGGER IF EXISTS flowstone_jobs_updated ON procrastinate_jobs;
DROP TRIGGER IF EXISTS flowstone_job_abort_requested ON procrastinate_jobs;
DROP FUNCTION IF EXISTS flowstone_jobs_inserted_v1();
DROP FUNCTION IF EXISTS flowstone_jobs_updated_v1();
DROP FUNCTION IF EXISTS flowstone_job_abort_requested_v1();

CREATE OR REPLACE FUNCTION flowstone_writes_events() RETURNS boolean
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT false;
$$;

ALTER TABLE procrastinate_jobs
    ENABLE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1,
    ENABLE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1,
    ENABLE TRIGGER procrastinate_trigger_status_events_insert_v1,
    ENABLE TRIGGER procrastinate_trigger_status_events_update_v1,
    ENABLE TRIGGER procrastinate_trigger_scheduled_events_v1,
    ENABLE TRIGGER procrastinate_trigger_abort_requested_events_v1;
