-- Executions of parallel assets, and their branches. An execution has the id of its materialization, and goes with it.
--
-- Lock order: after everything of the engine's, the execution first, then its branches. What a branch's end means for
-- its execution is not stored; Python derives it from the branches, the views from the materializations.

CREATE TABLE parallel_executions (
    materialization_id bigint PRIMARY KEY,
    failure_mode text NOT NULL
        CONSTRAINT parallel_executions_known_failure_mode CHECK (failure_mode IN ('all_or_nothing', 'partial')),
    timeout_ms bigint,
    scheduled_at timestamptz,
    ended text CONSTRAINT parallel_executions_known_end CHECK (ended IN ('complete', 'failed')),
    ended_at timestamptz,
    error json
) WITH (fillfactor = 70);
COMMENT ON TABLE parallel_executions IS 'One start of a parallel asset: what it waits for, and what became of its join.';
COMMENT ON COLUMN parallel_executions.scheduled_at IS 'When its branches began; the timeouts run from here.';
COMMENT ON COLUMN parallel_executions.ended IS 'What the coordinator was told last; null: nothing yet.';

CREATE TABLE parallel_branches (
    materialization_id bigint NOT NULL,
    branch text NOT NULL,
    place smallint NOT NULL,
    asset text NOT NULL,
    is_required boolean NOT NULL,
    is_waited_for boolean NOT NULL,
    timeout_ms bigint,
    branch_materialization_id bigint,
    status text NOT NULL DEFAULT 'pending'
        CONSTRAINT parallel_branches_known_status CHECK (status IN ('pending', 'success', 'failed', 'skipped')),
    result json,
    error json,
    ended_at timestamptz,
    PRIMARY KEY (materialization_id, branch),
    CONSTRAINT parallel_branches_end_once CHECK ((status = 'pending') = (ended_at IS NULL))
) WITH (fillfactor = 70);
COMMENT ON TABLE parallel_branches IS 'One branch of an execution: a parameter of the join.';
COMMENT ON COLUMN parallel_branches.materialization_id IS 'The execution''s.';
COMMENT ON COLUMN parallel_branches.branch_materialization_id IS
    'The final asset''s, of the same run or a reused one; null: there is none.';

SELECT flowstone_attach_v1('parallel_executions');
SELECT flowstone_attach_v1('parallel_branches');
