-- Runs, materializations and what belongs to them. Read top-down.
--
-- A materialization has the id of its procrastinate job, taken from procrastinate's own sequence when
-- the run is planned; the job row is inserted when the materialization becomes ready. So jobs and
-- materializations join by primary key, and older work runs first. A job below the assets
-- (@pipeline.job) is a materialization without a run: the same states, claims and fences, but nothing
-- upstream or downstream, and no value that is anybody's current one.
-- An assistant is a further claim of one materialization, in its run: a row of its own that is open like any
-- other, so that whoever picks finds it, but has neither upstreams nor dependents nor a value, and ends as
-- skipped. Nobody is shown it: what lists or counts materializations leaves out those that assist.
--
-- Lock order for the whole schema: procrastinate_jobs, flowstone_materializations (both by id), flowstone_current
-- (by asset, partition), flowstone_runs (by id), flowstone_interventions, the locks of queues (flowstone_queue_lock,
-- by its number), flowstone_queues (by name).
-- Whoever needs several takes them in this order. A lease is taken alone; flowstone_pruning comes before all,
-- and only pruning takes it. flowstone_rate_uses belong to who holds the lock of their queue.
-- flowstone_schedules (by name) comes before all, too; nobody takes both.
-- flowstone_unique_keys come after the materializations whose they are, and before queues: who enqueues takes
-- them sorted; who lets go of one never waits, as only its holder does; see 74_unique.sql.
--
-- A turn goes through this order to settle, and then claims: it locks queues, and takes jobs that nobody holds, with
-- their materializations. Lest this closes a circle, it does not wait for a queue as long as Postgres waits before it
-- looks for one; see 55_queue_limits.sql.
--
-- Whoever ends a materialization that others await takes their jobs and rows, before runs. Those have higher ids, so
-- that within one run this is the order of ids, too; see 34_awaiting.sql.
--
-- What a plugin closes when a wait ends, by a trigger on flowstone_waits, comes after all of these; so a plugin
-- that wakes locks the job and the materialization before its own row.
--
-- A row of flowstone_limits is taken alone; its slots and uses belong to who holds it.
--
-- Rows of plugins come last: whoever decides about a wait, say, takes its job, its materialization, and then them.
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
    is_tolerated boolean NOT NULL DEFAULT false,
    duration_ms integer,
    enqueued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    arguments json,
    limit_key text,
    lane text,
    assists bigint,
    schedule text,
    tick_at timestamptz,
    unique_key text COLLATE "C",
    unique_states smallint,
    unique_until timestamptz,
    unique_status flowstone_status,
    inputs bigint[] NOT NULL DEFAULT '{}',
    follows bigint[] NOT NULL DEFAULT '{}',
    dependents bigint[] NOT NULL DEFAULT '{}',
    optional_dependents bigint[] NOT NULL DEFAULT '{}',
    awaits bigint[],
    awaited_by bigint[],
    starts bigint[],
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
COMMENT ON COLUMN flowstone_materializations.unique_status IS
    'Of a unique job: a status in which a turn has seen to its key itself; with another one the trigger does, see 77_keep_unique.sql. ''pending'' is none.';
COMMENT ON COLUMN flowstone_materializations.limit_key IS 'Of a job in a queue with limits per key: its key; null: none.';
COMMENT ON COLUMN flowstone_materializations.lane IS 'Of a job in a serial lane: which; null: none.';
COMMENT ON COLUMN flowstone_materializations.assists IS
    'Of an assistant: which materialization of its run it works for; see flowstone_add_assistants. Null: none, as it is one itself.';
COMMENT ON COLUMN flowstone_materializations.is_awaited IS 'Somebody waits for the end of this job: notify it.';
COMMENT ON COLUMN flowstone_materializations.enqueued_at IS 'Of a job; a run has its own.';
COMMENT ON COLUMN flowstone_materializations.unmet IS 'Upstreams of its run that have not ended well; zero makes it ready.';
COMMENT ON COLUMN flowstone_materializations.claim IS 'The fence: attempts of its job when it was last claimed.';
COMMENT ON COLUMN flowstone_materializations.attempt IS 'What the author sees; a snooze gives it back.';
COMMENT ON COLUMN flowstone_materializations.has_wait IS 'Whether flowstone_waits has a row of it.';
COMMENT ON COLUMN flowstone_materializations.outlives_run IS 'Its run was pruned; it is current, taken by a run, or something was made from it.';
COMMENT ON COLUMN flowstone_materializations.inputs IS 'Materializations whose values it loads, of its run or reused.';
COMMENT ON COLUMN flowstone_materializations.follows IS 'Materializations that only come first (after=).';
COMMENT ON COLUMN flowstone_materializations.awaits IS
    'Materializations that it waits for itself once it has begun; null: none. See 34_awaiting.sql.';
COMMENT ON COLUMN flowstone_materializations.awaited_by IS 'The same, seen from the other end.';
COMMENT ON COLUMN flowstone_materializations.starts IS
    'What is held until it waits or succeeds, and ends with it otherwise; null: none, or it has begun.';
COMMENT ON COLUMN flowstone_materializations.is_tolerated IS 'Its failure or cancellation says nothing about its run.';

-- Serves reading one run, run-scoped claims, and one row per (run, asset, partition).
CREATE UNIQUE INDEX flowstone_materializations_by_run
    ON flowstone_materializations (run_id, asset, partition) WHERE run_id IS NOT NULL;
-- Serves the history of one partition of an asset, and of the jobs of one name, newest first.
-- The sign is turned so that a plan made for empty tables, to which all indexes look alike, never looks up an id
-- in it.
CREATE INDEX flowstone_materializations_by_key ON flowstone_materializations (asset, partition, (-id));

-- Serves pruning: which ones of a key are left of runs that are gone? Ordinary rows are not in it.
CREATE INDEX flowstone_materializations_outliving ON flowstone_materializations (asset, partition)
    WHERE outlives_run;

-- Serves dismissing: the assistants of a materialization. Ordinary rows are not in it.
CREATE INDEX flowstone_materializations_assisting ON flowstone_materializations (assists)
    WHERE assists IS NOT NULL;

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
    whom text[] NOT NULL DEFAULT '{}',
    state json,
    is_external boolean NOT NULL DEFAULT true,
    waiting_since timestamptz,
    deadline_at timestamptz,
    woken_at timestamptz,
    payload json,
    early_at timestamptz,
    early_payload json,
    all_ended bigint[],
    any_lost bigint[]
);
COMMENT ON TABLE flowstone_waits IS
    'What a materialization waits for, and what woke it. Kept until it ends, so that a lost resume sees the same wake-up again.';
COMMENT ON COLUMN flowstone_waits.all_ended IS
    'The wait ends when these materializations, which it awaits, have all ended; null: it does not end by itself.';
COMMENT ON COLUMN flowstone_waits.any_lost IS 'The wait ends, too, when one of these has ended without a value.';
COMMENT ON COLUMN flowstone_waits.waiting_on IS 'Null: it has not waited yet.';
COMMENT ON COLUMN flowstone_waits.whom IS 'Whom it waits for, or what exactly, for people.';
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
COMMENT ON COLUMN flowstone_workers.lease_ms IS
    'How long it may fail to beat before others take it for dead; 0: it has left, and something that it had is held up.';
COMMENT ON COLUMN flowstone_workers.queue_slots IS
    'Slots by queue that somebody gave to this worker while it runs; null: none.';
