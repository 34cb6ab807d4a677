-- Indexes of ours on procrastinate's jobs.

-- The two heads of a queue. Only jobs of ours are in them, whatever else procrastinate runs.
-- Serves claim: due at once. The sign is turned so that procrastinate's index on (priority DESC, id), which
-- has the jobs of all queues, can never look like a shortcut; bigint, as the least integer has no opposite.
CREATE INDEX flowstone_jobs_for_claim ON procrastinate_jobs (queue_name, (-priority::bigint), id)
    WHERE status = 'todo' AND scheduled_at IS NULL AND task_name = 'flowstone:materialize';
-- Serves claim: timed, retried, snoozed and parked jobs.
CREATE INDEX flowstone_jobs_timed ON procrastinate_jobs (queue_name, scheduled_at, id)
    WHERE status = 'todo' AND scheduled_at IS NOT NULL AND task_name = 'flowstone:materialize';
-- Serve claim: jobs with a key or a lane, see 52_claim_keyed.sql; those that are due, by both; those that are
-- timed; those that have begun, and keep their lane while they are timed.
CREATE INDEX flowstone_keyed_for_claim
    ON procrastinate_jobs (queue_name, (args ->> 'key'), (args ->> 'lane'), (-priority::bigint), id)
    WHERE task_name = 'flowstone:keyed' AND status = 'todo' AND scheduled_at IS NULL;
CREATE INDEX flowstone_keyed_timed ON procrastinate_jobs (queue_name, scheduled_at, id)
    WHERE task_name = 'flowstone:keyed' AND status = 'todo' AND scheduled_at IS NOT NULL;
CREATE INDEX flowstone_keyed_begun ON procrastinate_jobs (queue_name, (args ->> 'lane'))
    WHERE task_name = 'flowstone:keyed' AND status = 'todo' AND scheduled_at IS NOT NULL AND attempts > 0;
-- Serve fetch_task: procrastinate's jobs in its order, and who is before whom in a lock.
CREATE INDEX flowstone_tasks_for_fetch ON procrastinate_jobs (priority DESC, id)
    WHERE status = 'todo' AND task_name <> 'flowstone:materialize' AND task_name <> 'flowstone:keyed';
CREATE INDEX flowstone_tasks_by_lock ON procrastinate_jobs (lock)
    WHERE lock IS NOT NULL AND status IN ('todo', 'doing');
-- Serves the foreign key when a worker's row goes: without it that reads every job there ever was
-- (procrastinate#1454).
CREATE INDEX flowstone_jobs_by_worker ON procrastinate_jobs (worker_id) WHERE worker_id IS NOT NULL;
