-- Approvals: what people decide before a materialization goes on, and what is to be told about them.
--
--   pending ─┬─▶ approved | modified | rejected      somebody decides
--            ├─▶ escalated ─▶ (as pending)           somebody passes it on, or its deadline does
--            ├─▶ expired | approved                  its deadline decides
--            └─▶ cancelled                           its materialization has ended otherwise
--
-- Whoever looks first after a deadline does what it says: the worker that is woken by it, or somebody who comes
-- too late to decide. So what counts is the row and the database's clock, not when a worker gets to it.
--
-- Lock order: the materialization's job, the materialization, and only then its approval.
--
-- Plans are pinned, as those of the engine are: the tables may be empty when a plan is cached and full a second
-- later, and every access here has the index that it wants.

CREATE TABLE checkpoints_approvals (
    materialization_id bigint PRIMARY KEY,
    run_id bigint NOT NULL,
    asset text NOT NULL,
    partition text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    message text NOT NULL,
    value json NOT NULL,
    decided_value json,
    approvers text[] NOT NULL,
    on_timeout text NOT NULL,
    escalate_to text[] NOT NULL,
    timeout_ms bigint,
    reminders_ms bigint[] NOT NULL,
    requested_at timestamptz NOT NULL,
    deadline_at timestamptz,
    escalation_count integer NOT NULL DEFAULT 0,
    escalated_by text,
    escalated_at timestamptz,
    decided_by text,
    decided_at timestamptz,
    reason text,
    CONSTRAINT status_is_known CHECK (
        status IN ('pending', 'escalated', 'approved', 'modified', 'rejected', 'expired', 'cancelled')
    ),
    CONSTRAINT on_timeout_is_known CHECK (on_timeout IN ('reject', 'approve', 'escalate')),
    CONSTRAINT decided_is_when_not_open CHECK ((decided_at IS NULL) = (status IN ('pending', 'escalated')))
) WITH (fillfactor = 70);
COMMENT ON TABLE checkpoints_approvals IS
    'What somebody has to decide, or has decided, before a materialization goes on. Its id is the materialization''s.';
COMMENT ON COLUMN checkpoints_approvals.value IS 'What the asset''s function returned; held until it is approved.';
COMMENT ON COLUMN checkpoints_approvals.decided_value IS 'What takes its place; null: nothing does.';
COMMENT ON COLUMN checkpoints_approvals.approvers IS 'People or groups that may decide; empty is everybody.';
COMMENT ON COLUMN checkpoints_approvals.escalate_to IS 'Who may decide once the deadline has passed, with on_timeout escalate.';
COMMENT ON COLUMN checkpoints_approvals.decided_by IS 'Null with a decision: the deadline decided.';

-- Serves the list of what is open, newest first.
CREATE INDEX checkpoints_approvals_open ON checkpoints_approvals (materialization_id) WHERE decided_at IS NULL;
-- Serves what is said of a run.
CREATE INDEX checkpoints_approvals_by_run ON checkpoints_approvals (run_id);

CREATE TABLE checkpoints_notices (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    materialization_id bigint NOT NULL,
    event text NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    told text[] NOT NULL DEFAULT '{}',
    CONSTRAINT event_is_known CHECK (
        event IN (
            'requested', 'reminder', 'escalated', 'approved', 'modified', 'rejected', 'expired', 'cancelled'
        )
    )
);
COMMENT ON TABLE checkpoints_notices IS
    'What is still to be told to notifiers, written together with what happened; a row goes when it was told.';
COMMENT ON COLUMN checkpoints_notices.told IS 'Which notifiers have taken it.';
-- Serves taking what is due.
CREATE INDEX checkpoints_notices_due ON checkpoints_notices (due_at, id);
-- Serves forgetting the reminders of what is decided, and pruning.
CREATE INDEX checkpoints_notices_by_materialization ON checkpoints_notices (materialization_id);

SELECT flowstone_attach_v1('checkpoints_approvals');
SELECT flowstone_attach_v1('checkpoints_notices');
