"""A router decides once; whoever joins branches was told how each of them ended."""

from tests.chaos.branched import JOINED, KIND
from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "what a router selected is recorded once, and is its value",
        f"""
        SELECT m.id, m.status::text, d.selected_branch, v.value ->> 'selected_branch' AS value,
            m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        LEFT JOIN flowstone.routing_decisions d ON d.materialization_id = m.id
        LEFT JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE m.asset = '{KIND}' AND m.status = 'succeeded'
            AND (d.selected_branch IS NULL
                OR v.value ->> 'selected_branch' IS DISTINCT FROM d.selected_branch)
        """,
    ),
    Invariant(
        "the branch that was selected runs, and no other",
        """
        SELECT m.id, m.asset, m.status::text, m.claim, d.selected_branch, m.finished_at AS at
        FROM flowstone.routing_decisions d
        JOIN flowstone.flowstone_materializations m
            ON m.run_id = d.run_id AND m.asset LIKE 'branched.by\\_%'
        JOIN flowstone.flowstone_runs r ON r.id = d.run_id
        WHERE r.cancel_requested_at IS NULL AND CASE
            WHEN m.asset = 'branched.by_' || d.selected_branch
                THEN m.status NOT IN ('succeeded', 'failed')
            ELSE m.status <> 'skipped'
                OR EXISTS (SELECT FROM chaos.starts s WHERE s.materialization_id = m.id)
        END
        """,
    ),
    Invariant(
        "who has joined branches knows how each has ended",
        """
        SELECT m.id, m.asset, m.status::text, e.ended, b.branch, b.status AS known,
            m.finished_at AS at
        FROM flowstone.parallel_executions e
        JOIN flowstone.flowstone_materializations m ON m.id = e.materialization_id
        JOIN flowstone.parallel_branches b ON b.materialization_id = e.materialization_id
        WHERE m.status = 'succeeded'
                AND (e.ended IS DISTINCT FROM 'complete' OR b.status = 'pending')
            OR m.status = 'failed' AND m.error ->> 'code' <> 'worker_died'
                AND e.ended IS DISTINCT FROM 'failed'
        """,
    ),
    Invariant(
        "a branch has ended as its asset did, unless nobody waited for it",
        """
        SELECT b.materialization_id, b.branch, b.status AS known, f.status::text, f.id,
            b.ended_at AS at
        FROM flowstone.parallel_branches b
        JOIN flowstone.flowstone_materializations f ON f.id = b.branch_materialization_id
        WHERE b.status <> 'pending' AND b.error ->> 'code' IS DISTINCT FROM 'timeout'
            -- It may have ended while it was given up, as it does not wait for that.
            AND coalesce(b.error ->> 'message' NOT IN ('given up', 'not waited for'), true)
            AND b.status <> CASE
                WHEN f.status = 'succeeded' THEN 'success'
                WHEN f.status = 'skipped' THEN 'skipped'
                ELSE 'failed'
            END
        """,
    ),
    Invariant(
        "a join was told of its branches what is known of them",
        f"""
        SELECT m.id, b.branch, b.status AS known, v.value -> 'payload' ->> b.branch AS told,
            m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        JOIN flowstone.parallel_branches b ON b.materialization_id = m.id
        WHERE m.asset = '{JOINED}' AND NOT b.is_required
            AND v.value -> 'payload' ->> b.branch IS DISTINCT FROM CASE b.status
                WHEN 'success' THEN 'Ok' WHEN 'failed' THEN 'Failed' ELSE 'Skipped'
            END
        """,
    ),
)
