"""What clients were told is true."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "a run that was acknowledged exists",
        """
        SELECT q.run_id, q.load FROM chaos.requests q
        WHERE NOT EXISTS (SELECT FROM flowstone.flowstone_runs r WHERE r.id = q.run_id)
        """,
    ),
    Invariant(
        "a run has rows of its own or reuses others",
        """
        SELECT r.id, r.status::text, r.created_at AS at FROM flowstone.flowstone_runs r
        WHERE NOT EXISTS (SELECT FROM flowstone.flowstone_materializations m WHERE m.run_id = r.id)
            AND NOT EXISTS (SELECT FROM flowstone.flowstone_reused u WHERE u.run_id = r.id)
        """,
    ),
    Invariant(
        "a run exists if, and only if, its caller's transaction was committed",
        """
        SELECT t.request, t.ended, r.id AS run_id, i.run_id AS intended, r.created_at AS at
        FROM chaos.transactions t
        LEFT JOIN flowstone.flowstone_runs r ON r.dedupe = t.request
        LEFT JOIN chaos.intents i ON i.request = t.request
        WHERE r.id IS DISTINCT FROM i.run_id
            OR t.ended = 'committed' AND r.id IS NULL
            OR t.ended = 'rolled back' AND r.id IS NOT NULL
        """,
    ),
    Invariant(
        "requests with the same dedupe are one run",
        """
        SELECT f.request, f.run_ids, r.id AS run_id, r.created_at AS at
        FROM chaos.folded f
        LEFT JOIN flowstone.flowstone_runs r ON r.dedupe = f.request
        WHERE f.run_ids <> ARRAY[r.id]
        """,
    ),
    Invariant(
        "a cancellation that was acknowledged leaves nothing to start",
        """
        SELECT m.run_id, m.id, m.asset, m.started_at AS at, r.cancel_requested_at
        FROM chaos.cancelled c
        JOIN flowstone.flowstone_runs r ON r.id = c.run_id
        JOIN flowstone.flowstone_materializations m ON m.run_id = r.id
        WHERE m.started_at > r.cancel_requested_at + interval '10 s'
        """,
    ),
)
