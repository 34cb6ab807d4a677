"""No limit of a queue is exceeded, by whatever workers; that none leaks shows in that all ends."""

from tests.chaos.invariants.invariant import Invariant
from tests.chaos.limited import MOST, NARROW_QUEUE, PACED_QUEUE, RATE

INVARIANTS = (
    Invariant(
        # Who claims holds the queue's row and has counted the ends that are committed: their events
        # have lower ids. So the order of ids is exact, whatever the clocks say.
        "no more of a queue run at once than its limit says",
        f"""
        SELECT * FROM (
            SELECT e.id, e.job_id, e.at,
                sum(CASE WHEN e.type = 'started' THEN 1 ELSE -1 END) OVER (ORDER BY e.id) AS running
            FROM flowstone.procrastinate_events e
            JOIN flowstone.procrastinate_jobs j ON j.id = e.job_id
            WHERE j.queue_name = '{NARROW_QUEUE}' AND e.type IN
                ('started', 'deferred_for_retry', 'succeeded', 'failed', 'aborted')
        ) moves
        WHERE running > {MOST} OR running < 0
        """,
    ),
    Invariant(
        # Of several starts of one job only the last is known; without the others it holds, too.
        "no more of a queue start within a second than its rate says",
        f"""
        SELECT * FROM (
            SELECT m.id, m.started_at AS at,
                m.started_at - lag(m.started_at, {RATE}) OVER (ORDER BY m.started_at, m.id) AS apart
            FROM flowstone.flowstone_materializations m
            WHERE m.queue = '{PACED_QUEUE}' AND m.started_at IS NOT NULL
        ) starts
        WHERE apart < interval '1 s'
        """,
    ),
    Invariant(
        # Whose claim does not run any longer counts for nothing, and makes room for who comes next.
        "no more slots of a limit are rows than it has",
        """
        SELECT l.name, l.slots, count(*) AS taken
        FROM flowstone.flowstone_limits l
        JOIN flowstone.flowstone_limit_slots s ON s.limit_name = l.name
        GROUP BY l.name
        HAVING count(*) > l.slots
        """,
    ),
)
