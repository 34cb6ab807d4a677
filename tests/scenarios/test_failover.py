"""A standby becomes the primary under a worker, a client that enqueues and one that waits."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.errors import DatabaseUnreachableError
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.embedded_cluster import Cluster
from flowstone.engine.schema import migrate
from tests.scenarios.conftest import PIPELINES
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import connected
from tests.scenarios.pipelines.random_dag import random_dag
from tests.scenarios.spawned import Spawner
from tests.scenarios.standby import Standby, dsn_of

SETTINGS = {"fsync": "off", "wal_level": "replica"}

SYNCHRONOUS = (  # or what was committed last would be lost with the old primary
    "ALTER SYSTEM SET synchronous_standby_names = '*'",
    "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """
    Two servers, of which the second follows the first.

    Attributes:
        dsn: Of a migrated database, on the one that takes writes.
        first: The DSN of the first alone.
    """

    primary: Cluster
    standby: Standby
    dsn: str
    first: str


@pytest.fixture
def pair() -> Iterator[Pair]:
    with EmbeddedPostgres(settings=SETTINGS) as server:
        assert server.path is not None
        migrate(dsn := server.dsn())
        primary = Cluster(server.path)
        standby = Standby(Path(f"{server.path}-standby"), primary, SETTINGS)
        try:
            standby.follow()
            yield Pair(primary, standby, dsn_of(primary, standby), dsn)
        finally:
            standby.stop(immediately=True)
            shutil.rmtree(standby.folder, ignore_errors=True)


async def configure(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in (*statements, "SELECT pg_reload_conf()"):
        await connection.execute(statement)
    await connection.close()


async def test_work_goes_on_when_the_primary_dies_and_the_standby_is_promoted(
    pair: Pair, spawn: Spawner, ledger: Ledger
) -> None:
    await configure(pair.first, *SYNCHRONOUS)
    async with FlowStone(PIPELINES, dsn=pair.dsn) as app:
        handle = await app.enqueue_many(random_dag)
        worker = spawn.worker(pair.dsn, "random_dag", slots=2, lease=3.0)
        await eventually(partial(ledger.has_starts, 6))

        await asyncio.to_thread(pair.primary.stop, immediately=True)
        await asyncio.to_thread(pair.standby.promote)
        await configure(pair.dsn, "ALTER SYSTEM SET synchronous_standby_names = ''")

        await handle.wait("60s")
        assert not worker.has_ended
        async with connected(pair.dsn) as pg:
            await assert_completed_once(pg, ledger, handle.run_id)


async def test_a_server_that_became_read_only_is_left_though_it_still_answers(
    pair: Pair, spawn: Spawner, ledger: Ledger
) -> None:
    async with FlowStone(PIPELINES, dsn=pair.dsn) as app:
        worker = spawn.worker(pair.dsn, "random_dag", slots=2, lease=3.0, poll_interval=0.5)
        first = await app.enqueue_many(random_dag)
        await first.wait("60s")

        await asyncio.to_thread(pair.standby.promote)
        await configure(pair.first, "ALTER SYSTEM SET default_transaction_read_only = on")
        # The pool's connection is still the old one, and its first statement there is refused.
        await eventually(lambda: _enqueued(app))

        async with connected(pair.dsn) as pg:
            newest = max(await pg.fetchval("SELECT array_agg(run_id) FROM flowstone.runs"))
            await until_ended(pg, newest)
            await assert_completed_once(pg, ledger, newest)
        assert not worker.has_ended


async def _enqueued(app: FlowStone) -> bool:
    """Enqueue once more, unless the database does not answer as it should."""
    try:
        await app.enqueue_many(random_dag, force=True)
    except DatabaseUnreachableError:
        return False
    return True
