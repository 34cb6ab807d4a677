"""Everything ends, and leaves nothing behind."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "every run has ended",
        """
        SELECT r.id, r.status::text, r.open_count, r.created_at AS at
        FROM flowstone.flowstone_runs r
        WHERE r.status = 'running' OR r.finished_at IS NULL
        """,
    ),
    Invariant(
        "every materialization has ended",
        """
        SELECT
            m.id, m.run_id, m.asset, m.status::text, m.unmet, m.claim, m.worker_id, m.attempt,
            j.status::text AS job, j.scheduled_at, j.attempts, m.started_at AS at
        FROM flowstone.flowstone_materializations m
        LEFT JOIN flowstone.procrastinate_jobs j USING (id)
        WHERE m.status IN ('pending', 'ready', 'running', 'waiting') OR m.finished_at IS NULL
        """,
    ),
    Invariant(
        "no job is left in todo or doing",
        """
        SELECT j.id, j.status::text, j.attempts, j.scheduled_at, m.status::text AS materialization
        FROM flowstone.procrastinate_jobs j
        LEFT JOIN flowstone.flowstone_materializations m USING (id)
        WHERE j.status NOT IN ('succeeded', 'failed', 'cancelled', 'aborted')
            OR j.worker_id IS NOT NULL OR j.abort_requested
        """,
    ),
    Invariant(
        "nobody who has ended waits",
        """
        SELECT w.materialization_id AS id, m.status::text, m.finished_at AS at
        FROM flowstone.flowstone_waits w
        LEFT JOIN flowstone.flowstone_materializations m ON m.id = w.materialization_id
        """,
    ),
    Invariant(
        "no worker is left that has stopped or died",
        """
        SELECT w.id, w.pid, w.heartbeat_at AS at FROM flowstone.flowstone_workers w
        UNION ALL
        SELECT w.id, NULL, w.last_heartbeat FROM flowstone.procrastinate_workers w
        """,
    ),
)
