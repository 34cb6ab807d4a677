-- Runs, materializations and what belongs to them. Read top-down.
--
-- A materialization has the id of its procrastinate job, taken from procrastinate's own sequence when
-- the run is planned; the job row is inserted when the materialization becomes ready. So jobs and
-- materializations join by primary key, and older work runs first. A job below the assets
-- (@pipeline.job) is a materialization without a run: the same states, claims and fences, but nothing
-- upstream or downstream, and no value that is anybody's current one.
--
-- Lock order for the whole schema: flowstone_queues (by name), procrastinate_jobs, flowstone_materializations
-- (both by id), flowstone_runs (by id), flowstone_current (by asset, partition), flowstone_interventions.
-- Whoever needs several takes them in this order. A lease is taken alone; flowstone_pruning comes before all,
-- and only pruning takes it. flowstone_rate_uses belong to who holds the row of their queue.
-- flowstone_schedules (by name) comes before all, too; nobody takes both.
-- flowstone_unique_keys come after the materializations whose they are: who enqueues takes
-- them sorted; who lets go of one never waits, as only its holder does; see 74_unique.sql.
--
-- A row of flowstone_limits is taken alone; its slots and uses belong to who holds it.
--
-- No foreign keys between these tables: every row is written by the functions beside this file, in the
-- transaction that makes it true, and a key check per row would cost as much as the row.

CREATE TYPE flowstone_status AS ENUM (
    'pending',          -- waits for upstreams of its run
    'ready',            -- its job can be claimed (now, or at the job's scheduled_at)
    'running',          -- a worker owns it: (worker_id, claim)
    'waiting',          -- waits for something outside; its job is parked
    'succeeded',
    'failed',
    'skipped',
    'cancelled',
    'upstream_failed'
);

CREATE TYPE flowstone_run_status AS ENUM ('running', 'succeeded', 'failed', 'cancelled');

CREATE TABLE flowstone_runs (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    status flowstone_run_status NOT NULL,
    open_count integer NOT NULL,
    failed_count integer NOT NULL DEFAULT 0,
    cancelled_count integer NOT NULL DEFAULT 0,
    targets json NOT NULL,
    options json,
    dedupe text,
    retry_of bigint,
    created_at timestamptz NOT NULL,
    cancel_requested_at timestamptz,
    finished_at timestamptz,
    heads json
) WITH (fillfactor = 50);
COMMENT ON TABLE flowstone_runs IS 'One request and everything it caused.';
COMMENT ON COLUMN flowstone_runs.open_count IS 'Materializations that have not ended; moves only with a row''s real transition.';
COMMENT ON COLUMN flowstone_runs.options IS 'RunConfig: JSON-safe options of this run; objects are named, never stored.';
COMMENT ON COLUMN flowstone_runs.heads IS
    'Only of a run that a process works on alone: where in the queues its jobs lie; see flowstone_heads_of_run.';

-- Serves create_run: a repeat finds the first run.
CREATE UNIQUE INDEX flowstone_runs_dedupe ON flowstone_runs (dedupe) WHERE dedupe IS NOT NULL;
-- Serves pruning: what has ended, oldest first.
CREATE INDEX flowstone_runs_ended ON flowstone_runs (status, finished_at, id) WHERE finished_at IS NOT NULL;
-- Serves the list of runs by status, newest first.
CREATE INDEX flowstone_runs_by_status ON flowstone_runs (status, id DESC);

CREATE TABLE flowstone_materializations (
    id bigint PRIMARY KEY,
    run_id bigint,
    asset text NOT NULL,
    partition text NOT NULL DEFAULT '',
    queue text NOT NULL,
    priority integer NOT NULL,
    status flowstone_status NOT NULL,
    unmet integer NOT NULL,
    claim integer,
    worker_id bigint,
    attempt integer NOT NULL DEFAULT 0,
    rescues integer NOT NULL DEFAULT 0,
    has_wait boolean NOT NULL DEFAULT false,
    outlives_run boolean NOT NULL DEFAULT false,
    is_awaited boolean NOT NULL DEFAULT false,
    duration_ms integer,
    enqueued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    arguments json,
    limit_key text,
    lane text,
    schedule text,
    tick_at timestamptz,
    unique_key text COLLATE "C",
    unique_states smallint,
    unique_until timestamptz,
    inputs bigint[] NOT NULL DEFAULT '{}',
    follows bigint[] NOT NULL DEFAULT '{}',
    dependents bigint[] NOT NULL DEFAULT '{}',
    optional_dependents bigint[] NOT NULL DEFAULT '{}',
    reason text NOT NULL,
    version text,
    io text,
    location json,
    error json
) WITH (
    -- Each row is updated twice or three times (ready, claimed, settled); the space keeps that HOT.
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);
COMMENT ON TABLE flowstone_materializations IS
    'One act of computing and storing one partition of one asset; or, without a run, one job.';
COMMENT ON COLUMN flowstone_materializations.asset IS 'The full name of the asset, or of the job.';
COMMENT ON COLUMN flowstone_materializations.arguments IS
    'Of a job: what its function is called with. json, not jsonb: key order and numbers come back as they went in.';
COMMENT ON COLUMN flowstone_materializations.schedule IS 'Of a job: which schedule has enqueued it.';
COMMENT ON COLUMN flowstone_materializations.tick_at IS 'Of such a job: for which of its ticks; null when it was triggered by hand.';
COMMENT ON COLUMN flowstone_materializations.unique_key IS
    'Of a unique job: no other that has it is enqueued while this one holds it; see flowstone_unique_keys.';
COMMENT ON COLUMN flowstone_materializations.unique_states IS
    'In which states it holds its key, added up: 1 waits, 2 runs, 4 succeeded or was skipped, 8 failed, 16 cancelled.';
COMMENT ON COLUMN flowstone_materializations.unique_until IS 'Until when it holds its key at most; null is no limit.';
COMMENT ON COLUMN flowstone_materializations.limit_key IS 'Of a job in a queue with limits per key: its key; null: none.';
COMMENT ON COLUMN flowstone_materializations.lane IS 'Of a job in a serial lane: which; null: none.';
COMMENT ON COLUMN flowstone_materializations.is_awaited IS 'Somebody waits for the end of this job: notify it.';
COMMENT ON COLUMN flowstone_materializations.enqueued_at IS 'Of a job; a run has its own.';
COMMENT ON COLUMN flowstone_materializations.unmet IS 'Upstreams of its run that have not ended well; zero makes it ready.';
COMMENT ON COLUMN flowstone_materializations.claim IS 'The fence: attempts of its job when it was last claimed.';
COMMENT ON COLUMN flowstone_materializations.attempt IS 'What the author sees; a snooze gives it back.';
COMMENT ON COLUMN flowstone_materializations.has_wait IS 'Whether flowstone_waits has a row of it.';
COMMENT ON COLUMN flowstone_materializations.outlives_run IS 'Its run was pruned; it is current, taken by a run, or something was made from it.';
COMMENT ON COLUMN flowstone_materializations.inputs IS 'Materializations whose values it loads, of its run or reused.';
COMMENT ON COLUMN flowstone_materializations.follows IS 'Materializations that only come first (after=).';

-- Serves reading one run, run-scoped claims, and one row per (run, asset, partition).
CREATE UNIQUE INDEX flowstone_materializations_by_run
    ON flowstone_materializations (run_id, asset, partition) WHERE run_id IS NOT NULL;
-- Serves the history of one partition of an asset, and of the jobs of one name, newest first.
CREATE INDEX flowstone_materializations_by_key ON flowstone_materializations (asset, partition, id);

-- Serves pruning: which ones of a key are left of runs that are gone? Ordinary rows are not in it.
CREATE INDEX flowstone_materializations_outliving ON flowstone_materializations (asset, partition)
    WHERE outlives_run;

CREATE TABLE flowstone_unique_keys (
    key text COLLATE "C" PRIMARY KEY,
    materialization_id bigint NOT NULL
) WITH (
    -- A row comes and goes with each unique job.
    autovacuum_vacuum_scale_factor = 0.05
);
COMMENT ON TABLE flowstone_unique_keys IS
    'Which job holds a unique key: one row while it is in a state that the key covers.';

CREATE TABLE flowstone_values (
    materialization_id bigint PRIMARY KEY,
    size_bytes integer NOT NULL,
    value json NOT NULL
);
COMMENT ON TABLE flowstone_values IS
    'Values that the engine holds itself. json, not jsonb: key order and numbers come back as they went in.';

CREATE TABLE flowstone_errors (
    materialization_id bigint NOT NULL,
    claim integer NOT NULL,
    attempt integer NOT NULL,
    failed_at timestamptz NOT NULL,
    error json NOT NULL,
    PRIMARY KEY (materialization_id, claim)
);
COMMENT ON TABLE flowstone_errors IS 'What each failed attempt failed with; it goes with its run, or with its job.';
-- Serves activity: what has failed last.
CREATE INDEX flowstone_errors_newest ON flowstone_errors (failed_at);

CREATE TABLE flowstone_current (
    asset text NOT NULL,
    partition text NOT NULL,
    materialization_id bigint NOT NULL,
    invalidated_at timestamptz,
    PRIMARY KEY (asset, partition)
) WITH (fillfactor = 80);
COMMENT ON TABLE flowstone_current IS 'Which materialization an asset''s partition has now.';
-- Serves invalidation: is this downstream materialization still somebody's current value?
CREATE INDEX flowstone_current_by_materialization ON flowstone_current (materialization_id);

CREATE TABLE flowstone_lineage (
    materialization_id bigint NOT NULL,
    upstream_id bigint NOT NULL,
    PRIMARY KEY (upstream_id, materialization_id)
);
COMMENT ON TABLE flowstone_lineage IS
    'Which materialization was made from which. Upstream direction: also materializations.inputs.';

CREATE TABLE flowstone_reused (
    run_id bigint NOT NULL,
    materialization_id bigint NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (run_id, materialization_id)
);
COMMENT ON TABLE flowstone_reused IS 'Values that a run took as they were; they stay for as long as it does.';
-- Serves pruning: does a run that is kept need this one?
CREATE INDEX flowstone_reused_by_materialization ON flowstone_reused (materialization_id);

CREATE TABLE flowstone_waits (
    materialization_id bigint PRIMARY KEY,
    waiting_on text,
    state json,
    is_external boolean NOT NULL DEFAULT true,
    waiting_since timestamptz,
    deadline_at timestamptz,
    woken_at timestamptz,
    payload json,
    early_at timestamptz,
    early_payload json
);
COMMENT ON TABLE flowstone_waits IS
    'What a materialization waits for, and what woke it. Kept until it ends, so that a lost resume sees the same wake-up again.';
COMMENT ON COLUMN flowstone_waits.waiting_on IS 'Null: it has not waited yet.';
COMMENT ON COLUMN flowstone_waits.early_at IS 'A wake-up that came while it ran; it ends the wait that follows.';

CREATE TABLE flowstone_workers (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    procrastinate_worker_id bigint NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[] NOT NULL,
    lease_ms bigint NOT NULL,
    suspect_id bigint,
    queue_slots jsonb,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON COLUMN flowstone_workers.suspect_id IS
    'Which of the materializations that have cost two workers their life it has begun last.';
COMMENT ON TABLE flowstone_workers IS
    'Who owns what. procrastinate''s own worker row may be pruned by a stock worker; this one is not.';
COMMENT ON COLUMN flowstone_workers.lease_ms IS 'How long it may fail to beat before others take it for dead.';
COMMENT ON COLUMN flowstone_workers.queue_slots IS
    'Slots by queue that somebody gave to this worker while it runs; null: none.';

CREATE TABLE flowstone_queues (
    name text PRIMARY KEY,
    paused_at timestamptz,
    slots integer,
    max_running integer,
    rate_count integer,
    rate_ms bigint,
    max_running_per_key integer,
    rate_per_key_count integer,
    rate_per_key_ms bigint,
    limits_from text,
    has_keys boolean NOT NULL DEFAULT false,
    key_cursor text[],
    CONSTRAINT queue_names_fit_a_channel CHECK (name <> '' AND octet_length(name) <= 40),
    CONSTRAINT queue_slots_are_not_negative CHECK (slots >= 0),
    CONSTRAINT queue_limits_let_something_run CHECK (
        max_running > 0 AND rate_count > 0 AND rate_ms > 0
        AND max_running_per_key > 0 AND rate_per_key_count > 0 AND rate_per_key_ms > 0
    ),
    CONSTRAINT queue_rates_have_a_period CHECK (
        (rate_count IS NULL) = (rate_ms IS NULL) AND (rate_per_key_count IS NULL) = (rate_per_key_ms IS NULL)
    ),
    CONSTRAINT queue_limits_come_from_code_or_hand CHECK (limits_from IN ('code', 'hand'))
) WITH (fillfactor = 50);
COMMENT ON TABLE flowstone_queues IS
    'What was said about queues at run time, or in code. A queue without a row has no settings, and costs nothing.';
COMMENT ON COLUMN flowstone_queues.slots IS 'How many run at once on each worker that serves it; null: as it was started.';
COMMENT ON COLUMN flowstone_queues.max_running IS 'How many may run at once on all workers together.';
COMMENT ON COLUMN flowstone_queues.rate_count IS 'How many may start within any rate_ms milliseconds.';
COMMENT ON COLUMN flowstone_queues.has_keys IS 'Whether jobs with a key or a lane have ever been enqueued in it.';
COMMENT ON COLUMN flowstone_queues.key_cursor IS 'The (key, lane) at which the last turn stopped; see 52_claim_keyed.sql.';
COMMENT ON COLUMN flowstone_queues.limits_from IS 'Whether code or somebody at run time said the limits; what was said by hand stays.';

CREATE TABLE flowstone_rate_uses (
    queue text NOT NULL,
    key text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    count integer NOT NULL,
    PRIMARY KEY (queue, key, at)
) WITH (fillfactor = 70);
COMMENT ON TABLE flowstone_rate_uses IS
    'Starts that a rate limit has to remember: at most a thousand rows for each, deleted when their period has passed.';
-- Serves use_rates: of keys that are not heard of any longer, what has passed.
CREATE INDEX flowstone_rate_uses_passed ON flowstone_rate_uses (queue, at) WHERE key <> '';
COMMENT ON COLUMN flowstone_rate_uses.at IS 'Not before the start: a thousandth of the period, rounded up.';

CREATE TABLE flowstone_leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    held_until timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE flowstone_leases IS
    'Who does what only one of all may do; who does not renew in time is replaced. One row for each such thing.';

CREATE TABLE flowstone_schedules (
    name text PRIMARY KEY,
    pipeline text NOT NULL,
    job text NOT NULL,
    arguments json NOT NULL,
    queue text NOT NULL,
    priority integer NOT NULL,
    cron text NOT NULL,
    timezone text NOT NULL,
    missed text NOT NULL,
    unique_key text COLLATE "C",
    unique_states smallint,
    unique_window_ms bigint,
    unique_conflict text,
    source text NOT NULL,
    created_at timestamptz NOT NULL,
    paused_at timestamptz,
    next_at timestamptz,
    last_at timestamptz,
    last_job_id bigint,
    CONSTRAINT flowstone_schedules_missed_is_a_policy CHECK (missed IN ('skip', 'one', 'all')),
    CONSTRAINT flowstone_schedules_source_is_known CHECK (source IN ('code', 'runtime'))
) WITH (fillfactor = 70);
COMMENT ON TABLE flowstone_schedules IS 'Which jobs are enqueued when, again and again.';
COMMENT ON COLUMN flowstone_schedules.pipeline IS
    'Whose it is: workers that know this pipeline keep those of source ''code'' as their code has them.';
COMMENT ON COLUMN flowstone_schedules.missed IS 'What becomes of ticks whose time has passed while nobody looked.';
COMMENT ON COLUMN flowstone_schedules.unique_key IS
    'Of a unique job: the key that its jobs are enqueued with, and as what; see 74_unique.sql.';
COMMENT ON COLUMN flowstone_schedules.next_at IS
    'The next tick. Who enqueues it moves this on, in the same transaction, if it still is what he has read: the fence. Null: never again.';
COMMENT ON COLUMN flowstone_schedules.last_at IS 'The last tick that a job was enqueued for.';
COMMENT ON COLUMN flowstone_schedules.last_job_id IS 'That job, or one that was triggered by hand since.';
-- Serves due: what has fallen due, and what is next.
CREATE INDEX flowstone_schedules_due ON flowstone_schedules (next_at) WHERE paused_at IS NULL;

CREATE TABLE flowstone_limits (
    name text PRIMARY KEY,
    slots integer,
    rate_count integer,
    rate_ms bigint,
    is_by_hand boolean NOT NULL,
    awaited_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE flowstone_limits IS 'Limits of the application''s own, for code inside of jobs and assets.';
COMMENT ON COLUMN flowstone_limits.is_by_hand IS 'Set at run time: what code says no longer counts.';
COMMENT ON COLUMN flowstone_limits.awaited_at IS 'When somebody last had to wait for a slot: he is told of one that is given back.';

CREATE TABLE flowstone_limit_slots (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    limit_name text NOT NULL,
    materialization_id bigint NOT NULL,
    claim integer NOT NULL
);
COMMENT ON TABLE flowstone_limit_slots IS
    'Slots that attempts hold; one whose claim does not run any longer counts for nothing.';
-- Serves take_limit: how many are taken?
CREATE INDEX flowstone_limit_slots_by_limit ON flowstone_limit_slots (limit_name);

CREATE TABLE flowstone_limit_uses (
    limit_name text NOT NULL,
    used_at timestamptz NOT NULL,
    count integer NOT NULL,
    PRIMARY KEY (limit_name, used_at)
);
COMMENT ON TABLE flowstone_limit_uses IS 'What was used of a limit''s rate within the last period.';

CREATE TABLE flowstone_pruning (
    what text NOT NULL,
    status flowstone_run_status NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT '-infinity',
    after_id bigint NOT NULL DEFAULT 0,
    asset text NOT NULL DEFAULT '',
    partition text NOT NULL DEFAULT '',
    PRIMARY KEY (what, status)
) WITH (fillfactor = 50);
COMMENT ON TABLE flowstone_pruning IS 'How far pruning has come, one row for each thing that it walks over.';
COMMENT ON COLUMN flowstone_pruning.status IS
    'Of those that it walks over; of jobs that have ended, failed is failed, and succeeded is all the others.';

CREATE TABLE flowstone_served_code (
    plugin text PRIMARY KEY,
    revision text NOT NULL,
    serves_since text NOT NULL
);
COMMENT ON TABLE flowstone_served_code IS
    'What older code may work on these tables, said by the revision that made them; nothing said is none.';
COMMENT ON COLUMN flowstone_served_code.plugin IS 'Whose tables; empty: our own.';
COMMENT ON COLUMN flowstone_served_code.serves_since IS 'The last revision that the oldest such code knows.';

CREATE TABLE flowstone_interventions (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    job_id bigint NOT NULL,
    was procrastinate_job_status NOT NULL,
    by_role text NOT NULL,
    by_application text NOT NULL
);
COMMENT ON TABLE flowstone_interventions IS
    'Changes to our jobs that FlowStone did not make, until the next reconciling, which empties it.';
COMMENT ON COLUMN flowstone_interventions.was IS 'The job''s status before the change.';

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
