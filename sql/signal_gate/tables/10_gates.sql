-- Gates: what a materialization that waits for a signal waits at.
--
-- Lock order: the advisory lock of a token, then what the engine's tables say (job, materialization), then
-- signal_gate_gates (by id), then signal_gate_early. So a gate can be closed by whoever ends its
-- materialization, in the same transaction.

CREATE TABLE signal_gate_gates (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    materialization_id bigint NOT NULL,
    run_id bigint NOT NULL,
    asset text NOT NULL,
    partition text NOT NULL,
    attempt integer NOT NULL,
    token text NOT NULL,
    token_hash text NOT NULL,
    is_current boolean NOT NULL DEFAULT true,
    status text NOT NULL DEFAULT 'waiting'
        CONSTRAINT signal_gate_status_is_known CHECK (status IN ('waiting', 'signaled', 'timeout', 'cancelled')),
    opened_at timestamptz NOT NULL,
    timeout_at timestamptz,
    timeout_action text NOT NULL
        CONSTRAINT signal_gate_action_is_known CHECK (timeout_action IN ('fail', 'retry', 'cancel', 'call')),
    timeout_retries integer NOT NULL DEFAULT 0,
    max_timeout_retries integer NOT NULL,
    metadata json NOT NULL DEFAULT '{}',
    signaled_at timestamptz,
    payload json,
    sender json,
    is_checked boolean NOT NULL DEFAULT false,
    ended_at timestamptz,
    CONSTRAINT signal_gate_has_ended_unless_it_waits CHECK ((ended_at IS NULL) = (status = 'waiting'))
) WITH (fillfactor = 80);
COMMENT ON TABLE signal_gate_gates IS 'A wait for one signal. Goes with its materialization.';
COMMENT ON COLUMN signal_gate_gates.attempt IS 'Which attempt at the asset opened it.';
COMMENT ON COLUMN signal_gate_gates.token_hash IS 'The first 32 hexadecimal digits of its SHA-256: tokens have any length.';
COMMENT ON COLUMN signal_gate_gates.is_current IS
    'Whether signals for the token come here; false once a later gate has taken the token over.';
COMMENT ON COLUMN signal_gate_gates.timeout_at IS 'From then on no signal is taken; null: it waits for ever.';
COMMENT ON COLUMN signal_gate_gates.is_checked IS 'Whether the payload was read as what on_signal takes, before it was accepted.';
COMMENT ON COLUMN signal_gate_gates.ended_at IS 'When it was signaled, timed out or was cancelled.';

-- Serves signal and create: the gate that a token means.
CREATE UNIQUE INDEX signal_gate_gates_by_token ON signal_gate_gates (token_hash) WHERE is_current;
-- Serves create, close and pruning: the gates of a materialization.
CREATE INDEX signal_gate_gates_by_materialization ON signal_gate_gates (materialization_id);
-- Serves the remarks on a run.
CREATE INDEX signal_gate_gates_by_run ON signal_gate_gates (run_id);
-- Serves the list of what waits, earliest deadline first. Who asks for the gates of a materialization, or for some by
-- their ids, that are open asks for ended_at IS NULL: otherwise this one looks as good on an empty table, and is then
-- read as a whole.
CREATE INDEX signal_gate_gates_waiting ON signal_gate_gates (timeout_at, id) WHERE status = 'waiting';

SELECT flowstone_attach_v1('signal_gate_gates');

CREATE TABLE signal_gate_early (
    token_hash text PRIMARY KEY,
    token text NOT NULL,
    received_at timestamptz NOT NULL,
    payload json NOT NULL,
    sender json
);
COMMENT ON TABLE signal_gate_early IS
    'Signals that came before their gate. The gate takes its own when it opens; what nobody takes is pruned by age.';

-- Serves pruning: the oldest first.
CREATE INDEX signal_gate_early_oldest ON signal_gate_early (received_at);
