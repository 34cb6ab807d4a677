-- What routers have decided: one row for each run, router and partition, never changed.

CREATE TABLE routing_decisions (
    materialization_id bigint PRIMARY KEY,
    run_id bigint NOT NULL,
    router text NOT NULL,
    partition text NOT NULL,
    selected_branch text,
    available_branches text[] NOT NULL,
    rule text NOT NULL,
    predicate text,
    error text,
    decided_at timestamptz NOT NULL,
    CONSTRAINT routing_decisions_are_made_once UNIQUE (run_id, router, partition),
    CONSTRAINT routing_rule_is_known CHECK (rule IN ('choice', 'default', 'function', 'fallback')),
    CONSTRAINT routing_branch_is_available CHECK (selected_branch = ANY (available_branches))
);
COMMENT ON TABLE routing_decisions IS
    'What each router of a run has selected. A row goes with the router''s materialization, whose id it has.';
COMMENT ON COLUMN routing_decisions.selected_branch IS 'Null: no branch is to run.';
COMMENT ON COLUMN routing_decisions.rule IS
    'Why: a predicate was true, none was, the router''s function said so, or deciding failed and on_error names a branch.';
COMMENT ON COLUMN routing_decisions.predicate IS 'Of a choice: the predicate that was true.';
COMMENT ON COLUMN routing_decisions.error IS 'Of a fallback: what deciding failed with.';

SELECT flowstone_attach_v1('routing_decisions');
