"""A unique key has one holder, which lets go of it; a lane has one job at a time."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "a unique key is held by a job that it covers, or by nobody",
        """
        SELECT k.key, m.id, m.asset, m.status::text, m.unique_states, m.finished_at AS at
        FROM flowstone.flowstone_unique_keys k
        LEFT JOIN flowstone.flowstone_materializations m ON m.id = k.materialization_id
        WHERE m.unique_key IS DISTINCT FROM k.key
            OR m.unique_states & flowstone.flowstone_unique_state(m.status) = 0
        """,
    ),
    Invariant(
        "no two jobs that are covered have the same key",
        """
        SELECT m.unique_key, array_agg(m.id) AS ids, max(m.enqueued_at) AS at
        FROM flowstone.flowstone_materializations m
        WHERE m.unique_key IS NOT NULL
            AND m.unique_states & flowstone.flowstone_unique_state(m.status) <> 0
        GROUP BY 1
        HAVING count(*) > 1
        """,
    ),
    Invariant(
        # The second is enqueued after the first has let go; started_at is its last claim.
        "of jobs that run one at a time one has ended when another begins",
        """
        SELECT a.id, b.id AS other, a.started_at, a.finished_at, b.started_at AS at
        FROM flowstone.flowstone_materializations a
        JOIN flowstone.flowstone_materializations b ON b.unique_key = a.unique_key AND b.id > a.id
        WHERE a.asset = 'jobs.single'
            AND tstzrange(a.started_at, a.finished_at) && tstzrange(b.started_at, b.finished_at)
            AND a.started_at IS NOT NULL AND b.started_at IS NOT NULL
        """,
    ),
    Invariant(
        "of the jobs of a lane one has ended when another begins",
        """
        SELECT a.id, b.id AS other, a.started_at, a.finished_at, b.started_at AS at
        FROM flowstone.flowstone_materializations a
        JOIN flowstone.flowstone_materializations b
            ON b.asset = a.asset AND b.id > a.id
            AND b.arguments ->> 'key' = a.arguments ->> 'key'
        WHERE a.asset = 'jobs.laned'
            AND tstzrange(a.started_at, a.finished_at) && tstzrange(b.started_at, b.finished_at)
            AND a.started_at IS NOT NULL AND b.started_at IS NOT NULL
        """,
    ),
    Invariant(
        "a job that is asked for again with the same dedupe is one job",
        """
        SELECT s.note, s.job_ids, m.ids
        FROM chaos.same_jobs s
        CROSS JOIN LATERAL (
            SELECT array_agg(m.id) AS ids FROM flowstone.flowstone_materializations m
            WHERE m.run_id IS NULL AND m.arguments ->> 'note' = s.note
        ) m
        WHERE s.job_ids IS DISTINCT FROM m.ids
        """,
    ),
)
