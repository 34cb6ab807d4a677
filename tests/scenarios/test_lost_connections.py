"""Server processes are terminated under a worker, the one that listens too; wake-ups come back."""

from functools import partial

import asyncpg
from psycopg.conninfo import make_conninfo

from flowstone import FlowStone
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import plain
from tests.scenarios.pipelines.random_dag import random_dag
from tests.scenarios.spawned import Spawner

NEVER = 3600.0
"""A poll that does not come: what is delivered, LISTEN has delivered."""

OF_THE_WORKER = """
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'the worker'
"""


async def test_wake_ups_come_back_each_time_the_connections_are_lost(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    spawn.worker(
        make_conninfo(dsn, application_name="the worker"), "gated", poll_interval=NEVER, lease=600
    )
    runs = [await app.enqueue(plain)]
    await until_ended(pg, runs[0].run_id)
    for _ in range(8):
        # One may be gone already: it counts that there are some.
        assert await pg.fetchval(f"SELECT count(pg_terminate_backend(pid)) > 0 {OF_THE_WORKER}")
        for _ in range(2):  # one that may come before the worker listens again, and one after it
            runs.append(await app.enqueue(plain, force=True))
            await until_ended(pg, runs[-1].run_id)

    assert len(ledger.starts()) == len(runs)


async def test_nothing_is_lost_or_done_twice_in_mid_run(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue_many(random_dag)
    spawn.worker(make_conninfo(dsn, application_name="the worker"), "random_dag")
    for count in range(5, 35, 5):
        await eventually(partial(ledger.has_starts, count))
        await pg.execute(f"SELECT pg_terminate_backend(pid) {OF_THE_WORKER}")
    await until_ended(pg, handle.run_id)

    rows = await assert_completed_once(pg, ledger, handle.run_id)
    assert len(ledger.starts()) == len(rows)
