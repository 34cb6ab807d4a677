"""What has to hold of a scatter that has ended, read in SQL, and from what its items wrote down."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from tests.scenarios.ledger import Ledger

STARTS = """
CREATE TEMP TABLE starts (line integer, number integer, token text, at timestamptz);
CREATE INDEX ON starts (number);
"""

# Each finds rows that must not be: what is wrong, and the first of them.
INVARIANTS = {
    "the counters are those of the rows": """
        SELECT b.total, b.completed, b.failed, i.* FROM flowstone.scatter_barriers b
        CROSS JOIN LATERAL (
            SELECT
                count(*) AS items,
                count(*) FILTER (WHERE i.status = 1) AS with_result,
                count(*) FILTER (WHERE i.status = 2) AS with_error
            FROM flowstone.scatter_items i WHERE i.materialization_id = b.materialization_id
        ) i
        WHERE (b.total, b.completed, b.failed) <> (i.items, i.with_result, i.with_error)
    """,
    "every number is an item once": """
        SELECT number, count(i.index)
        FROM generate_series(0, $1::integer - 1) AS number
        LEFT JOIN flowstone.scatter_items i ON i.item::text = number::text
        GROUP BY number HAVING count(i.index) <> 1
    """,
    "there is no other item": """
        SELECT i.index, i.item::text FROM flowstone.scatter_items i
        WHERE i.item::text::integer NOT BETWEEN 0 AND $1::integer - 1
    """,
    "each was settled once, with the result of one of its starts": """
        SELECT i.index, i.status, i.attempts, i.result::text FROM flowstone.scatter_items i
        WHERE i.status <> 1 OR i.attempts <> 1 OR NOT EXISTS (
            SELECT FROM starts s
            WHERE s.number = i.item::text::integer
                AND s.number = (i.result ->> 0)::integer AND s.token = i.result ->> 1
        )
    """,
    "nothing is handed out any more": """
        SELECT 'chunk', c.id FROM flowstone.scatter_chunks c
        UNION ALL SELECT 'pump', p.pump_id FROM flowstone.scatter_pumps p
    """,
    "the value is of all results": """
        SELECT m.status, v.value::text FROM flowstone.materializations m
        LEFT JOIN flowstone.flowstone_values v USING (materialization_id)
        WHERE m.asset = 'scattered.counted'
            AND v.value::text IS DISTINCT FROM ($1::bigint * ($1::bigint - 1) / 2)::text
    """,
    "its job succeeded once, and none is open": """
        SELECT j.id, j.status FROM flowstone.procrastinate_jobs j
        WHERE j.status IN ('todo', 'doing')
        UNION ALL
        SELECT m.materialization_id, NULL FROM flowstone.materializations m
        WHERE (
            SELECT count(*) FROM flowstone.procrastinate_events e
            WHERE e.job_id = m.materialization_id AND e.type = 'succeeded'
        ) <> 1
    """,
}

# The server must keep the times of commits.
AFTER_ITS_COMMIT = """
SELECT s.number, s.at, pg_xact_commit_timestamp(i.xmin) AS settled_at
FROM flowstone.scatter_items i
JOIN starts s ON s.number = i.item::text::integer
WHERE s.at > pg_xact_commit_timestamp(i.xmin)
"""
AFTER_A_LOOK = """
SELECT s.number, s.at FROM starts s WHERE s.line > $1 AND s.number = ANY ($2::integer[])
"""

SETTLED = "SELECT array_agg(item::text::integer) FROM flowstone.scatter_items WHERE status = 1"


@dataclass(frozen=True, slots=True)
class Look:
    """
    What was settled at a moment, and how many starts had been written down later than that.

    Attributes:
        settled: Numbers of items.
        lines: No start after this many may be of one of them.
    """

    settled: Sequence[int]
    lines: int


def lines(ledger: Ledger, name: str) -> list[str]:
    """Return what was written down under a name, in its order."""
    path = ledger.folder / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


async def look(pg: asyncpg.Connection, ledger: Ledger) -> Look:
    """Look at what is settled now."""
    settled = await pg.fetchval(SETTLED) or []
    return Look(settled, len(lines(ledger, "items")))


async def violations(
    pg: asyncpg.Connection, ledger: Ledger, items: int, looks: Sequence[Look]
) -> list[str]:
    """Return what does not hold of ``scattered.counted``, with the first rows that tell of it."""
    await pg.execute(STARTS)
    starts = [it.split("\t") for it in lines(ledger, "items")]
    await pg.executemany(
        "INSERT INTO starts VALUES ($1, $2, $3, timestamptz 'epoch' + $4 * interval '1 us')",
        [(at, int(it[0]), it[1], int(it[2])) for at, it in enumerate(starts, 1)],
    )
    found: list[str] = []
    for said, query in INVARIANTS.items():
        rows = await pg.fetch(query, *([items] if "$1" in query else []))
        found += _said(said, rows)
    for at_look in looks:
        rows = await pg.fetch(AFTER_A_LOOK, at_look.lines, at_look.settled)
        found += _said("no item is run again after it was settled (by a look)", rows)
    if await pg.fetchval("SHOW track_commit_timestamp") == "on":
        rows = await pg.fetch(AFTER_ITS_COMMIT)
        found += _said("no item is run again after it was settled (by commits)", rows)
    return found


def _said(said: str, rows: Sequence[asyncpg.Record]) -> list[str]:
    return [f"NOT: {said}: {len(rows)} rows, such as {[tuple(it) for it in rows[:3]]}"] * bool(rows)
