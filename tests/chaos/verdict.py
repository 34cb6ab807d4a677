"""What the invariants and the throughput say when all is over."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from tests.chaos.invariants.invariant import Invariant
from tests.chaos.journal import Journal

MOST_ROWS = 10
ENOUGH = 0.95
WINDOW_SECONDS = 5.0
LONGEST_RECOVERY_SECONDS = 10.0
TICKS = """
SELECT extract(epoch FROM m.finished_at)::double precision AS at, s.pid
FROM flowstone.flowstone_materializations m
JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
JOIN chaos.starts s ON s.token = v.value ->> 'token'
WHERE m.asset = 'probe.tick' AND m.status = 'succeeded'
"""
FIGURES = """
SELECT
    (SELECT count(*) FROM flowstone.flowstone_runs) AS runs,
    (SELECT count(*) FROM flowstone.flowstone_materializations) AS materializations,
    (SELECT count(*) FROM chaos.starts) AS attempts,
    (SELECT count(*) FROM chaos.starts WHERE outcome IS NULL) AS attempts_cut_short,
    (SELECT sum(rescues) FROM flowstone.flowstone_materializations) AS rescues,
    (SELECT coalesce(json_object_agg(status, count), '{}') FROM (
        SELECT status, count(*) FROM flowstone.flowstone_materializations GROUP BY 1
    ) ended) AS ended
"""


@dataclass(frozen=True, slots=True)
class Violation:
    """
    Attributes:
        rows: The first of them, as JSON can say them.
        faults: What was under way around them.
    """

    claim: str
    count: int
    rows: list[dict[str, object]]
    faults: list[str]


@dataclass(frozen=True, slots=True)
class Throughput:
    """
    Completions per second of equal work, in equal company.

    It is the probe's: a steady backlog of bodies that take a quarter of a second each, so that its
    rate is that of the workers' slots for it. Before the first fault and after the last one the
    clients ask for the same mix of other work; bodies that hold a worker's loop on purpose do so
    in between only, or the rate would say how many of them were met.

    Attributes:
        calm: Before the first fault.
        afterwards: In the last window that was looked at.
        slowest: The least of the workers' in that window. A slot or a lane that one of them has
            lost shows here.
        recovered_after: Seconds from the last fault's end to the first window with 95 % of that;
            None: not within ten seconds.
    """

    calm: float
    afterwards: float
    slowest: float
    recovered_after: float | None


async def violations(
    pg: asyncpg.Connection, invariants: Sequence[Invariant], journal: Journal
) -> list[Violation]:
    """Return what does not hold, the journal's complaints included."""
    found = [
        Violation(entry.what, 1, [{"detail": entry.detail}], journal.near(entry.began))
        for entry in journal.complaints
    ]
    for invariant in invariants:
        rows = await pg.fetch(invariant.sql)
        if rows:
            told = [dict(row) for row in rows[:MOST_ROWS]]
            moments = {it["at"] for it in told if isinstance(it.get("at"), datetime)}
            near = [fault for at in sorted(moments) for fault in journal.near(at.timestamp())]
            plain = [json.loads(json.dumps(it, default=str)) for it in told]
            found.append(Violation(invariant.claim, len(rows), plain, list(dict.fromkeys(near))))
    return found


async def throughput(
    pg: asyncpg.Connection,
    calm_phase: tuple[float, float],
    last_fault: float,
    until: float,
    *,
    workers: int,
) -> Throughput:
    ticks = [(row["at"], row["pid"]) for row in await pg.fetch(TICKS)]

    def rates(since: float, before: float) -> list[float]:
        counted = Counter(pid for at, pid in ticks if since <= at < before)
        return [count / (before - since) for count in counted.values()]

    calm = sum(rates(*calm_phase))
    recovered: float | None = None
    after = 0.0
    while after <= LONGEST_RECOVERY_SECONDS and recovered is None:
        since = last_fault + after
        if since + WINDOW_SECONDS <= until:
            is_back = sum(rates(since, since + WINDOW_SECONDS)) >= calm * ENOUGH
            recovered = after if is_back else None
        after += 0.25
    last = rates(until - WINDOW_SECONDS, until)
    slowest = min(last) if len(last) >= workers else 0.0
    return Throughput(calm, sum(last), slowest, recovered)


async def figures(pg: asyncpg.Connection) -> dict[str, object]:
    row = dict(await pg.fetchrow(FIGURES))
    return {**row, "ended": json.loads(row["ended"])}
