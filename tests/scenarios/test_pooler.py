"""Through a PgBouncer in transaction mode everything goes on; what is heard late is polled for."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.status import RunStatus
from flowstone.engine.connecting import LentConnection, connect
from tests.scenarios.conftest import PIPELINES
from tests.scenarios.consistency import assert_completed_once
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.batch import made_of_it
from tests.scenarios.pipelines.gated import after_held
from tests.scenarios.pipelines.random_dag import assets
from tests.scenarios.pooler import BINARY, pooler
from tests.scenarios.spawned import Spawner

pytestmark = pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed")

SLICES = [f"slice-{number}" for number in range(40)]


@pytest.fixture
def pooled_dsn(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The test's database, through a pooler that has two servers for everybody."""
    monkeypatch.setattr("flowstone.core.until_ended.POLL_SECONDS", 0.5)
    with pooler(dsn) as pooled:
        yield pooled


async def test_a_pooler_is_known_and_a_server_of_ones_own_too(dsn: str, pooled_dsn: str) -> None:
    direct, pooled = await connect(dsn), await connect(pooled_dsn)

    assert type(pooled) is LentConnection
    assert type(direct) is asyncpg.Connection
    await direct.close()
    await pooled.close()


async def test_many_statements_at_once_share_two_servers(pooled_dsn: str) -> None:
    connections = [await connect(pooled_dsn) for _ in range(8)]

    async def ask(number: int) -> list[int]:
        # Each connection's statement has arguments and a shape of its own.
        query = f"SELECT $1::bigint + {number} AS number, $2::text[] AS words_{number}"
        return [
            (await connections[number].fetch(query, turn, ["a"] * number))[0]["number"]
            for turn in range(50)
        ]

    answers = await asyncio.gather(*map(ask, range(8)))

    assert answers == [[turn + number for turn in range(50)] for number in range(8)]
    for connection in connections:
        await connection.close()


async def test_who_loses_the_server_is_told_so(pooled_dsn: str) -> None:
    connection = await connect(pooled_dsn)

    with pytest.raises(asyncpg.PostgresError):
        await connection.fetchval("SELECT pg_terminate_backend(pg_backend_pid()), $1::text", "")

    assert connection.is_closed()


async def test_runs_are_enqueued_worked_on_and_waited_for(
    pooled_dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    for _ in range(2):
        spawn.worker(pooled_dsn, "batch", "random_dag", poll_interval=0.1)
    async with FlowStone(PIPELINES, dsn=pooled_dsn) as app:
        many = await app.enqueue_many([made_of_it], over=SLICES)
        runs = [await app.enqueue(assets[-1], partition=it) for it in SLICES[:5]]
        for run in (many, *runs):
            assert (await run.wait(timeout=60)).status is RunStatus.SUCCEEDED

    await assert_completed_once(pg, ledger, *(run.run_id for run in runs))


async def test_a_run_in_this_process_takes_turns_through_it(
    pooled_dsn: str, ledger: Ledger
) -> None:
    async with FlowStone(PIPELINES, dsn=pooled_dsn) as app:
        made = await app.run(made_of_it, partition="here")

    assert made.token


async def test_a_cancel_reaches_the_worker_by_its_poll(
    pooled_dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    spawn.worker(pooled_dsn, "gated", poll_interval=0.1, lease=2)
    async with FlowStone(PIPELINES, dsn=pooled_dsn) as app:
        run = await app.enqueue(after_held)
        await eventually(lambda: any(ledger.starts()))

        await run.cancel()

        assert (await run.wait(timeout=60)).status is RunStatus.CANCELLED


async def test_nothing_of_ours_stays_in_the_session_of_a_server(
    dsn: str, pooled_dsn: str, ledger: Ledger
) -> None:
    async with FlowStone(PIPELINES, dsn=pooled_dsn) as app:
        await app.run(made_of_it, partition="here")
        found = await app.health()

        rest = await connect(pooled_dsn)
        for _ in range(10):  # whichever server is lent
            async with rest.transaction():
                assert await rest.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
                assert await rest.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
                assert await rest.fetchval("SHOW search_path") == '"$user", public'
        await rest.close()

    assert found.ok
