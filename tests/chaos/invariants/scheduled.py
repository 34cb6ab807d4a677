"""A schedule's ticks are enqueued once each, whoever leads, and however often it is another."""

from tests.chaos.invariants.invariant import Invariant
from tests.chaos.jobs import SCHEDULE, TICK_SECONDS

INVARIANTS = (
    Invariant(
        "no tick of a schedule is lost or doubled",
        f"""
        SELECT s.name, s.last_at AS at, ticks.*
        FROM flowstone.flowstone_schedules s
        CROSS JOIN LATERAL (
            SELECT count(*) AS count, count(DISTINCT m.tick_at) AS distinct_count,
                min(m.tick_at) AS first, max(m.tick_at) AS last
            FROM flowstone.flowstone_materializations m
            WHERE m.schedule = s.name AND m.tick_at IS NOT NULL
        ) ticks
        WHERE s.name = '{SCHEDULE}' AND (
            ticks.count = 0
            OR ticks.count <> ticks.distinct_count
            OR ticks.last <> s.last_at
            OR ticks.count <> 1 + extract(epoch FROM ticks.last - ticks.first) / {TICK_SECONDS}
        )
        """,
    ),
    Invariant(
        "the schedule that the code has is a row",
        f"""
        SELECT '{SCHEDULE}' AS name
        WHERE NOT EXISTS (
            SELECT FROM flowstone.flowstone_schedules s WHERE s.name = '{SCHEDULE}'
        )
        """,
    ),
)
