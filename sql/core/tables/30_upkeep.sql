-- What keeps the rest in order: leases, how far pruning has come, what older code may work here, notes.

CREATE TABLE flowstone_leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    held_until timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE flowstone_leases IS
    'Who does what only one of all may do; who does not renew in time is replaced. One row for each such thing.';

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

CREATE TABLE flowstone_attached_tables (
    name text PRIMARY KEY,
    forget_items text,
    holds_items boolean NOT NULL
);
COMMENT ON TABLE flowstone_attached_tables IS
    'Tables of plugins whose rows go with their materialization. One row for each; see flowstone_attach_v1.';
COMMENT ON COLUMN flowstone_attached_tables.forget_items IS
    'The function that deletes its many rows before, by the period of items; null: it has few.';
COMMENT ON COLUMN flowstone_attached_tables.holds_items IS 'Its rows go by the period of items, by this function or that of another.';
