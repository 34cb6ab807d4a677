"""
Limits hold exactly while four processes race for the same queues, and when one is killed.

``RACE_TIMES=10`` lets them race for so many times as much.
"""

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import asyncpg
import pytest

from flowstone import FlowStone
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.limited import laned, paced, quick, staying
from tests.scenarios.spawned import Spawned, Spawner

PROCESSES = 4
TIMES_AS_MUCH = int(os.environ.get("RACE_TIMES", "1"))
MOST, NARROW_JOBS = 3, 600 * TIMES_AS_MUCH
RATE, PERIOD, PACED_JOBS = 20, timedelta(milliseconds=400), 150 * TIMES_AS_MUCH

TIMES = """
SELECT started_at, finished_at FROM flowstone.flowstone_materializations
WHERE queue = $1 AND status = 'succeeded' ORDER BY started_at
"""

NONE_IS_OLDER = """
SELECT NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND xact_start < $1
)
"""
LANES = """
SELECT arguments, started_at, finished_at FROM flowstone.flowstone_materializations
WHERE queue = 'lanes' AND status = 'succeeded' ORDER BY started_at
"""


def start(spawn: Spawner, dsn: str, **options: float) -> Spawned:
    return spawn.worker(dsn, "limited", slots=8, queues=["narrow", "paced"], **options)


async def workers_are_there(pg: asyncpg.Connection) -> None:
    await eventually(lambda: pg.fetchval("SELECT count(*) = $1 FROM flowstone.workers", PROCESSES))


def most_at_once(times: Sequence[tuple[datetime, datetime]]) -> int:
    moves = [(begin, 1) for begin, _ in times] + [(end, -1) for _, end in times]
    inside = most = 0
    for _, move in sorted(moves):
        inside += move
        most = max(most, inside)
    return most


@pytest.mark.timeout(60 * TIMES_AS_MUCH)
async def test_no_limit_is_exceeded_by_four_processes_that_race(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    await app.queues.limit("narrow", max_running=MOST)
    await app.queues.limit("paced", rate=f"{RATE}/400ms")
    for _ in range(PROCESSES):
        start(spawn, dsn)
    await workers_are_there(pg)

    await asyncio.gather(
        app.enqueue_many([quick.with_(number) for number in range(NARROW_JOBS)]),
        app.enqueue_many([paced.with_(number) for number in range(PACED_JOBS)]),
    )
    await app.queues.drain("narrow", timeout=60 * TIMES_AS_MUCH)
    await app.queues.drain("paced", timeout=120)

    narrow = [tuple(row) for row in await pg.fetch(TIMES, "narrow")]
    assert len(narrow) == NARROW_JOBS
    assert most_at_once(narrow) == MOST
    starts = [row["started_at"] for row in await pg.fetch(TIMES, "paced")]
    assert len(starts) == PACED_JOBS
    closest = min(late - early for early, late in zip(starts, starts[RATE:], strict=False))
    assert closest >= PERIOD
    assert await pg.fetchval("SELECT count(*) FROM flowstone.flowstone_rate_uses") <= 1000


async def test_a_killed_worker_gives_its_room_back(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    await app.queues.limit("narrow", max_running=MOST)
    await app.enqueue_many([staying.with_() for _ in range(2 * MOST)])
    doomed = start(spawn, dsn, lease=LONG)
    await eventually(lambda: running_on(pg, doomed.pid, MOST))
    other = start(spawn, dsn, lease=LONG)
    doomed.kill()
    await give_up(pg, doomed)

    await eventually(lambda: running_on(pg, other.pid, MOST))
    ledger.open_gate("go")
    await app.queues.drain("narrow", timeout=120)
    assert (await app.queues.status("narrow")).running == 0


async def running_on(pg: asyncpg.Connection, pid: int, count: int) -> bool:
    found = await pg.fetchval("SELECT running FROM flowstone.workers WHERE pid = $1", pid)
    return bool(found == count)


async def test_lanes_keep_their_order_while_workers_are_killed(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    def begin() -> Spawned:
        return spawn.worker(dsn, "limited", slots=8, queues=["lanes"], lease=3, max_rescues=1000)

    workers = [begin() for _ in range(PROCESSES)]
    calls = [laned.with_(lane, number) for number in range(40) for lane in range(8)]
    await app.enqueue_many(calls)
    for killed in range(1, 4):
        await eventually(partial(have_succeeded, pg, 60 * killed))
        dead = workers.pop(0)
        dead.kill()
        await give_up(pg, dead, max_rescues=1000)
        workers.append(begin())
    await app.queues.drain("lanes", timeout=120)

    rows = await pg.fetch(LANES)
    assert len(rows) == len(calls)
    for lane in range(8):
        own = [row for row in rows if json.loads(row["arguments"])["lane"] == lane]
        assert [json.loads(row["arguments"])["number"] for row in own] == list(range(40))
        assert all(
            early["finished_at"] <= late["started_at"] for early, late in itertools.pairwise(own)
        )


async def have_succeeded(pg: asyncpg.Connection, count: int) -> bool:
    found = await pg.fetchval(
        "SELECT count(*) FROM flowstone.flowstone_materializations WHERE status = 'succeeded'"
    )
    return bool(found >= count)


async def test_a_paused_queue_is_quiet_on_all_processes(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    await app.enqueue_many([quick.with_(number) for number in range(2000)])
    for _ in range(PROCESSES):
        start(spawn, dsn)
    await workers_are_there(pg)
    await app.queues.limit("narrow", max_running=50)
    # A turn that had begun before there was a limit does not know of it, nor waits for a pause.
    limited_at = await pg.fetchval("SELECT clock_timestamp()")
    await eventually(lambda: pg.fetchval(NONE_IS_OLDER, limited_at))
    await app.queues.pause("narrow")
    paused_at = await pg.fetchval("SELECT clock_timestamp()")
    # However fast they are: these they find paused, and go by to what is in the other queue.
    await app.enqueue_many([quick.with_(number) for number in range(200)])
    for job in await app.enqueue_many([paced.with_(number) for number in range(8 * PROCESSES)]):
        await job.result(timeout=60)
    await app.queues.drain("narrow", timeout=120)

    assert await pg.fetchval(
        "SELECT count(*) = 0 FROM flowstone.flowstone_materializations"
        " WHERE queue = 'narrow' AND started_at > $1",
        paused_at,
    )
    assert (await app.queues.status("narrow")).due >= 200
