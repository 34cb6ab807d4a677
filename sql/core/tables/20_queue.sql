-- What the job queue keeps beside its jobs: keys, settings and rates of queues, schedules, limits.

CREATE TABLE flowstone_unique_keys (
    key text COLLATE "C" PRIMARY KEY,
    materialization_id bigint NOT NULL
) WITH (
    -- A row comes and goes with each unique job.
    autovacuum_vacuum_scale_factor = 0.05
);
COMMENT ON TABLE flowstone_unique_keys IS
    'Which job holds a unique key: one row while it is in a state that the key covers.';

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
