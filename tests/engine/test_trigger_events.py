"""Whatever happens to jobs, our triggers leave the events and wake-ups that the stock ones do."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import asyncpg
import pytest

from flowstone.engine import triggers
from flowstone.engine.dsn import for_asyncpg
from tests.conftest import a_database

QUEUES = ("a", "b")
DATES = (None, "2030-01-01 00:00:00+00", "2031-01-01 00:00:00+00")
WORKERS = "INSERT INTO procrastinate_workers DEFAULT VALUES"

# What procrastinate's functions and ours do, and what nobody should: each over any set of jobs.
UPDATES = (
    "status = 'doing', worker_id = 1 WHERE status = 'todo'",
    "status = 'succeeded', attempts = attempts + 1, abort_requested = false WHERE status = 'doing'",
    (
        "status = 'failed', attempts = attempts + 1, worker_id = NULL, abort_requested = false "
        "WHERE status IN ('todo', 'doing')"
    ),
    "status = 'aborted', attempts = attempts + 1, abort_requested = false WHERE status = 'doing'",
    "status = 'cancelled' WHERE status = 'todo'",
    "status = 'cancelled', abort_requested = true WHERE status = 'todo'",
    "abort_requested = true WHERE status = 'doing'",
    "abort_requested = true WHERE status <> 'todo'",
    (
        "status = 'todo', attempts = attempts + 1, scheduled_at = $date, worker_id = NULL, "
        "abort_requested = false WHERE status IN ('doing', 'failed')"
    ),
    (
        "status = 'todo', abort_requested = false "
        "WHERE status IN ('succeeded', 'cancelled', 'aborted')"
    ),
    "scheduled_at = $date WHERE true",
    "priority = priority + 1, queue_name = 'b' WHERE true",
)


@dataclass
class Trace:
    """What one statement after the other left, each in a transaction of its own."""

    events: Counter[tuple[int, str, str | None]] = field(default_factory=Counter)
    woken: list[frozenset[str]] = field(default_factory=list)
    aborts: Counter[tuple[str, int]] = field(default_factory=Counter)


def statements(seed: int) -> list[str]:
    """Return random statements about jobs 1 to 12, of one row and of many."""
    chance = random.Random(seed)
    made: list[str] = []
    for _ in range(40):
        ids = chance.sample(range(1, 13), chance.choice([1, 1, 4, 12]))
        date = chance.choice(DATES)
        if chance.random() < 0.25:
            rows = ", ".join(
                f"({id_}, '{chance.choice(QUEUES)}', 't', {_literal(chance.choice(DATES))})"
                for id_ in ids
            )
            made.append(
                "INSERT INTO procrastinate_jobs (id, queue_name, task_name, scheduled_at) "
                f"VALUES {rows} ON CONFLICT DO NOTHING"
            )
            continue
        update = chance.choice(UPDATES).replace("$date", _literal(date))
        made.append(
            f"UPDATE procrastinate_jobs SET {update} AND id IN ({', '.join(map(str, ids))})"
        )
    return made


def _literal(date: str | None) -> str:
    return "NULL" if date is None else f"'{date}'"


async def trace(dsn: str, made: list[str]) -> Trace:
    found, heard = Trace(), set[str]()

    def hear(_: object, __: int, channel: str, payload: object) -> None:
        message = json.loads(str(payload))
        if message["type"] == "abort_job_requested":
            found.aborts[channel, message["job_id"]] += 1
        else:
            heard.add(channel)

    connection = await asyncpg.connect(**for_asyncpg(dsn))
    try:
        await connection.execute("SET search_path TO flowstone")
        await connection.execute(
            "TRUNCATE procrastinate_jobs, procrastinate_workers RESTART IDENTITY CASCADE"
        )
        await connection.execute(WORKERS)
        for channel in ("any_queue_v1", *(f"queue_v1#{queue}" for queue in QUEUES)):
            await connection.add_listener(f"procrastinate_{channel}", hear)
        for statement in made:
            await connection.execute(statement)
            await connection.fetchval("SELECT 1")  # notifications come before the answer
            found.woken.append(frozenset(heard))
            heard.clear()
        rows = await connection.fetch(
            "SELECT job_id, type::text, "
            "CASE WHEN type = 'scheduled' THEN at AT TIME ZONE 'UTC' END::text AS at "
            "FROM procrastinate_events"
        )
        found.events.update(map(tuple, rows))
        await connection.reset()
    finally:
        await connection.close()
    return found


@pytest.fixture(scope="module")
def both(server_dsn: str, template_database: str) -> Iterator[tuple[str, str]]:
    """Two databases, the first with procrastinate's own triggers."""
    with (
        a_database(server_dsn, template_database) as stock,
        a_database(server_dsn, template_database) as ours,
    ):
        triggers.restore(stock)
        yield stock, ours


@pytest.mark.parametrize("seed", range(30))
async def test_any_sequence_of_transitions_leaves_the_same(
    both: tuple[str, str], seed: int
) -> None:
    stock, ours = [await trace(dsn, statements(seed)) for dsn in both]

    assert ours == stock
    assert len(stock.events) > 10


async def test_the_sequences_come_to_every_kind_of_event(both: tuple[str, str]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(30):
        seen.update(type_ for _, type_, _ in (await trace(both[1], statements(seed))).events)

    assert set(seen) == {
        "deferred", "started", "deferred_for_retry", "failed", "succeeded", "cancelled",
        "abort_requested", "aborted", "scheduled", "retried",
    }  # fmt: skip
