"""A job that was committed ends once, as its behavior says, and others heard the truth about it."""

from tests.chaos.invariants.fates import MOST_RESCUES
from tests.chaos.invariants.invariant import Invariant

_JOBS = """
WITH job AS (
    SELECT
        m.id, m.asset, m.status::text, m.attempt, m.claim, m.rescues, m.enqueued_at, m.started_at,
        m.finished_at AS at, m.arguments ->> 'note' AS note, m.error ->> 'code' AS error,
        m.schedule, v.value ->> 'token' AS token, f.ends
    FROM flowstone.flowstone_materializations m
    LEFT JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
    LEFT JOIN chaos.fates f ON f.asset = m.asset
    WHERE m.run_id IS NULL
)
"""

INVARIANTS = (
    Invariant(
        "a job that was acknowledged exists, with its argument",
        f"""{_JOBS}
        SELECT asked.job_id AS id, asked.note, asked.load, job.note AS found
        FROM chaos.jobs asked LEFT JOIN job ON job.id = asked.job_id
        WHERE job.note IS DISTINCT FROM asked.note
        """,
    ),
    Invariant(
        "a job exists if, and only if, its caller's transaction was committed",
        f"""{_JOBS}
        SELECT t.note, t.ended, job.id, i.job_id AS intended, job.at
        FROM chaos.job_transactions t
        LEFT JOIN job ON job.note = t.note
        LEFT JOIN chaos.job_intents i ON i.note = t.note
        WHERE job.id IS DISTINCT FROM i.job_id
            OR t.ended = 'committed' AND job.id IS NULL
            OR t.ended = 'rolled back' AND job.id IS NOT NULL
        """,
    ),
    Invariant(
        "no request is two jobs",
        f"""{_JOBS}
        SELECT note, array_agg(id) AS ids FROM job
        WHERE job.schedule IS NULL
        GROUP BY note HAVING count(*) > 1
        """,
    ),
    Invariant(
        "a job ends as it behaves, or because somebody cancelled it",
        f"""{_JOBS}
        SELECT job.id, job.asset, job.status, job.ends, job.error, job.rescues, job.at
        FROM job
        LEFT JOIN chaos.cancelled_jobs c ON c.job_id = job.id
        WHERE job.status IS DISTINCT FROM job.ends
            AND NOT (job.status = 'cancelled' AND c.job_id IS NOT NULL)
            AND NOT (job.error = 'superseded' AND job.asset = 'jobs.lone')
            AND NOT (job.error = 'worker_died' AND job.rescues > {MOST_RESCUES})
        """,
    ),
    Invariant(
        "a result is of the job's own argument",
        """
        SELECT m.id, m.asset, m.arguments ->> 'note' AS note, v.value ->> 'payload' AS result,
            m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE m.run_id IS NULL
            AND m.arguments ->> 'note' IS DISTINCT FROM v.value ->> 'payload'
        """,
    ),
    Invariant(
        "who waited for a job was told how it ended",
        f"""{_JOBS}
        SELECT job.id, job.asset, job.status, job.token, h.what, job.at
        FROM chaos.heard h LEFT JOIN job ON job.id = h.job_id
        WHERE h.what IS DISTINCT FROM coalesce(job.token, job.status)
        """,
    ),
    Invariant(
        "a job that was cancelled is not started again",
        f"""{_JOBS}
        SELECT job.id, job.asset, job.status, job.started_at AS at, asked.at AS asked_at
        FROM chaos.cancelled_jobs c
        JOIN job ON job.id = c.job_id
        CROSS JOIN LATERAL (
            SELECT min(e.at) AS at FROM flowstone.procrastinate_events e
            WHERE e.job_id = job.id AND e.type IN ('abort_requested', 'cancelled')
        ) asked
        WHERE c.is_acknowledged AND job.started_at > asked.at + interval '10 s'
        """,
    ),
    Invariant(
        # By its last start: events have the time at which a turn began, and it may have waited.
        "no job begins before its time",
        f"""{_JOBS}
        SELECT job.id, job.asset, asked.delay, job.enqueued_at, job.started_at AS at
        FROM chaos.jobs asked
        JOIN job ON job.id = asked.job_id
        WHERE asked.delay > 0
            AND job.started_at < job.enqueued_at + (asked.delay - 0.1) * interval '1 s'
        """,
    ),
    Invariant(
        "each error that is kept is of an attempt that failed, in order",
        """
        SELECT m.id, m.asset, m.attempt, m.status::text, e.attempts, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN (
            SELECT e.materialization_id, array_agg(e.attempt ORDER BY e.claim) AS attempts,
                (array_agg(e.error ORDER BY e.claim DESC))[1] AS latest
            FROM flowstone.flowstone_errors e
            GROUP BY 1
        ) e ON e.materialization_id = m.id
        WHERE e.attempts <> ARRAY(SELECT DISTINCT a FROM unnest(e.attempts) a ORDER BY a)
            OR e.attempts[cardinality(e.attempts)] > m.attempt
            OR m.status = 'failed' AND m.error ->> 'code' IS DISTINCT FROM 'worker_died'
                AND (e.attempts[cardinality(e.attempts)], e.latest::text)
                    <> (m.attempt, m.error::text)
            OR m.status = 'succeeded' AND e.attempts[cardinality(e.attempts)] = m.attempt
        """,
    ),
    Invariant(
        "who failed, other than with its worker, has an error kept",
        """
        SELECT m.id, m.asset, m.attempt, m.error, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        WHERE m.status = 'failed' AND m.error ->> 'code' IS DISTINCT FROM 'worker_died'
            AND NOT EXISTS (
                SELECT FROM flowstone.flowstone_errors e WHERE e.materialization_id = m.id
            )
        """,
    ),
    Invariant(
        "what a job wrote is there once if that attempt counts, and not otherwise",
        f"""{_JOBS}
        SELECT job.id, job.status, job.token, w.tokens, job.at
        FROM job
        LEFT JOIN (
            SELECT w.job_id, array_agg(w.token) AS tokens FROM chaos.written w GROUP BY 1
        ) w ON w.job_id = job.id
        WHERE coalesce(w.tokens, '{{}}') <> CASE
            WHEN job.asset = 'jobs.writing' AND job.status = 'succeeded' THEN ARRAY[job.token]
            ELSE '{{}}'
        END
        """,
    ),
)
