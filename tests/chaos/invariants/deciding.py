"""An approval is decided once, by somebody who said so or by its deadline, and its asset obeys."""

from tests.chaos.approved import GRANTED, REFUSED
from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "every approval is closed",
        """
        SELECT a.materialization_id, a.asset, a.status, a.requested_at AS at
        FROM flowstone.approvals a WHERE a.decided_at IS NULL
        """,
    ),
    Invariant(
        "a decision is what somebody said, or what the deadline says",
        f"""
        SELECT a.materialization_id, a.asset, a.status, a.decided_by, d.status AS said,
            a.decided_at AS at
        FROM flowstone.approvals a
        LEFT JOIN chaos.decisions d
            ON d.by = a.decided_by AND d.approval_id = a.materialization_id
        WHERE NOT CASE
            WHEN a.status = 'cancelled' THEN true
            WHEN a.decided_by IS NOT NULL THEN d.status IS NOT DISTINCT FROM a.status
            WHEN a.asset = '{GRANTED}' THEN a.status = 'approved' AND a.decided_at >= a.deadline_at
            WHEN a.asset = '{REFUSED}' THEN a.status = 'expired' AND a.decided_at >= a.deadline_at
            ELSE false
        END
        """,
    ),
    Invariant(
        "who was told that he has decided is the one who has",
        """
        SELECT d.*, a.status AS stands, a.decided_by, a.decided_at AS at
        FROM chaos.decisions d
        LEFT JOIN flowstone.approvals a ON a.materialization_id = d.approval_id
        WHERE d.answer = 'decided' AND a.decided_by IS DISTINCT FROM d.by
        """,
    ),
    Invariant(
        "an asset ends as was decided about it, with the value that was approved",
        """
        SELECT m.id, m.asset, m.status::text, a.status AS decided, a.decided_by,
            v.value -> 'payload' AS payload, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_runs r ON r.id = m.run_id
        LEFT JOIN flowstone.approvals a ON a.materialization_id = m.id
        LEFT JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE m.asset LIKE 'approved.%' AND NOT CASE
            WHEN m.status = 'cancelled' THEN r.cancel_requested_at IS NOT NULL
            WHEN m.error ->> 'code' = 'worker_died' THEN true
            WHEN a.status = 'approved'
                THEN m.status = 'succeeded' AND v.value ->> 'payload' IS NULL
            WHEN a.status = 'modified'
                THEN m.status = 'succeeded' AND v.value ->> 'payload' = a.decided_by
            ELSE a.status IN ('rejected', 'expired') AND m.status = 'failed'
        END
        """,
    ),
    Invariant(
        "what was to be told about an approval was told within a minute",
        """
        SELECT n.materialization_id, n.event, n.due_at AS at, n.attempts
        FROM flowstone.checkpoints_notices n
        WHERE n.due_at < now() - interval '60 s'
        """,
    ),
)
