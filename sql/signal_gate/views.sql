CREATE VIEW signal_gates AS
SELECT
    g.id AS gate_id, g.materialization_id, g.run_id, g.asset, g.partition, g.attempt, g.token, g.status, g.opened_at,
    g.timeout_at, g.timeout_action, g.timeout_retries, g.max_timeout_retries, g.metadata, g.signaled_at, g.payload,
    g.sender, g.ended_at
FROM signal_gate_gates g;
COMMENT ON VIEW signal_gates IS 'One row per gate: for which token, until when, what came and from whom.';

CREATE VIEW signal_gates_early AS
SELECT e.token, e.received_at, e.payload, e.sender FROM signal_gate_early e;
COMMENT ON VIEW signal_gates_early IS 'Signals that came before a gate with their token was open.';
