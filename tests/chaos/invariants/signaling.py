"""A gate ends once, by a signal that somebody sent, by its deadline, or with its run."""

from tests.chaos.gated import FICKLE
from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "every gate has ended",
        """
        SELECT g.gate_id, g.materialization_id, g.token, g.opened_at AS at
        FROM flowstone.signal_gates g WHERE g.status = 'waiting'
        """,
    ),
    Invariant(
        "a gate was signaled with what somebody sent",
        """
        SELECT g.gate_id, g.token, g.payload::text, g.signaled_at AS at
        FROM flowstone.signal_gates g
        LEFT JOIN chaos.signals s ON s.payload = g.payload #>> '{}' AND s.token = g.token
        WHERE (g.status = 'signaled') <> (s.payload IS NOT NULL)
        """,
    ),
    Invariant(
        "who was told that his signal counts is the one whose signal does",
        """
        SELECT s.*, g.status, g.payload::text AS counts, g.ended_at AS at
        FROM chaos.signals s
        JOIN flowstone.signal_gate_gates g ON g.token = s.token AND g.is_current
        WHERE s.answer IN ('accepted', 'repeated', 'kept')
            AND g.payload #>> '{}' IS DISTINCT FROM s.payload
            AND NOT (s.answer = 'kept' AND g.status = 'cancelled')
        """,
    ),
    Invariant(
        "who waited goes on with the signal, or because his time was up",
        f"""
        SELECT m.id, m.asset, m.status::text, g.status AS gate, g.payload::text,
            v.value -> 'payload' AS told, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_runs r ON r.id = m.run_id
        LEFT JOIN flowstone.signal_gate_gates g ON g.materialization_id = m.id AND g.is_current
        LEFT JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE m.asset LIKE 'gated.%' AND NOT CASE m.status::text
            WHEN 'succeeded' THEN CASE g.status
                WHEN 'signaled' THEN v.value -> 'payload' ->> 'payload' = g.payload #>> '{{}}'
                WHEN 'timeout' THEN (v.value -> 'payload' ->> 'timed_out')::boolean
                ELSE false
            END
            WHEN 'cancelled' THEN r.cancel_requested_at IS NOT NULL
                OR m.asset = '{FICKLE}' AND g.status = 'timeout'
            ELSE m.status = 'failed' AND m.error ->> 'code' = 'worker_died'
        END
        """,
    ),
    Invariant(
        "a gate takes the signal that came before it",
        """
        SELECT e.token, g.gate_id, g.status, e.received_at AS at
        FROM flowstone.signal_gates_early e JOIN flowstone.signal_gates g USING (token)
        """,
    ),
)
