-- The public view of approvals; docs/approvals.md explains it.
CREATE VIEW approvals AS
SELECT
    a.materialization_id, a.run_id, a.asset, a.partition, a.status, a.message, a.value,
    a.decided_value, a.approvers, a.requested_at, a.deadline_at, a.on_timeout, a.escalation_count,
    a.escalated_by, a.escalated_at, a.decided_by, a.decided_at, a.reason
FROM checkpoints_approvals a;
COMMENT ON VIEW approvals IS
    'What somebody has to decide, and what was decided: by whom, when and why.';
