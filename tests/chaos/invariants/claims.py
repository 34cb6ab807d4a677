"""Nothing completes twice, and nothing runs that was not claimed."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "a job ends once, as its materialization did",
        """
        SELECT
            m.id, m.run_id, m.asset, m.status::text, j.status::text AS job, e.ends,
            m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        LEFT JOIN flowstone.procrastinate_jobs j USING (id)
        CROSS JOIN LATERAL (
            SELECT array_agg(e.type::text ORDER BY e.id) AS ends
            FROM flowstone.procrastinate_events e
            WHERE e.job_id = m.id AND e.type IN ('succeeded', 'failed', 'cancelled', 'aborted')
        ) e
        WHERE m.finished_at IS NOT NULL AND NOT CASE
            -- An assistant that nobody has claimed is dismissed when its work is done.
            WHEN m.assists IS NOT NULL
                THEN m.status <> 'succeeded' AND e.ends = ARRAY[j.status::text]
            WHEN m.status IN ('succeeded', 'skipped') AND m.claim IS NOT NULL
                THEN j.status = 'succeeded' AND e.ends = '{succeeded}'
            WHEN m.status = 'failed' THEN j.status = 'failed' AND e.ends = '{failed}'
            WHEN m.status = 'cancelled' AND j.id IS NOT NULL
                THEN j.status IN ('cancelled', 'aborted') AND e.ends = ARRAY[j.status::text]
            ELSE j.id IS NULL AND m.claim IS NULL AND m.status <> 'succeeded'
        END
        """,
    ),
    Invariant(
        "no job is without its materialization",
        """
        SELECT j.id, j.status::text, j.task_name, j.args::text
        FROM flowstone.procrastinate_jobs j
        WHERE NOT EXISTS (SELECT FROM flowstone.flowstone_materializations m WHERE m.id = j.id)
        """,
    ),
    Invariant(
        "every claim has ended once",
        """
        SELECT j.id, j.attempts, e.claims, m.finished_at AS at
        FROM flowstone.procrastinate_jobs j
        JOIN flowstone.flowstone_materializations m USING (id)
        CROSS JOIN LATERAL (
            SELECT count(*) AS claims FROM flowstone.procrastinate_events e
            WHERE e.job_id = j.id AND e.type = 'started'
        ) e
        WHERE j.attempts <> e.claims
        """,
    ),
    Invariant(
        "no body was started without a claim",
        """
        SELECT s.materialization_id AS id, s.asset, count(*) AS starts, j.attempts,
            m.finished_at AS at
        FROM chaos.starts s
        LEFT JOIN flowstone.procrastinate_jobs j ON j.id = s.materialization_id
        LEFT JOIN flowstone.flowstone_materializations m ON m.id = s.materialization_id
        GROUP BY s.materialization_id, s.asset, j.attempts, m.id
        HAVING m.id IS NULL OR count(*) > coalesce(j.attempts, 0)
        """,
    ),
    Invariant(
        "no more attempts are counted than there were claims",
        """
        SELECT m.id, m.asset, m.attempt, m.rescues, j.attempts, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.procrastinate_jobs j USING (id)
        WHERE m.attempt > j.attempts OR m.rescues > j.attempts OR m.attempt < 0
        """,
    ),
)
