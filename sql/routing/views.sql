CREATE VIEW router_decisions AS
SELECT
    d.materialization_id AS decision_id, d.run_id, d.router, d.partition, d.selected_branch, d.available_branches,
    d.rule, d.predicate, d.error, d.decided_at
FROM routing_decisions d;
COMMENT ON VIEW router_decisions IS 'What each router of a run has selected, and why.';
