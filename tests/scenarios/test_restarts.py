"""Postgres goes away and comes back under a worker and one who waits for a result."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from flowstone import FlowStone
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.embedded_cluster import Cluster
from flowstone.engine.schema import migrate
from tests.conftest import a_database
from tests.scenarios.consistency import assert_completed_once
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import connected
from tests.scenarios.pipelines.gated import held
from tests.scenarios.pipelines.random_dag import random_dag
from tests.scenarios.spawned import Spawner

# A commit outlives a crash of the server, if not one of the machine.
SETTINGS = {"fsync": "off"}

LONG = 60.0
"""A lease that is not over before the server is back."""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of our own, whatever the others use: it is stopped under everybody."""
    with EmbeddedPostgres(settings=SETTINGS) as server:
        yield server


@pytest.fixture
def dsn(server: EmbeddedPostgres) -> Iterator[str]:
    with a_database(server.dsn()) as dsn:
        migrate(dsn)
        yield dsn


def restart(server: EmbeddedPostgres, *, polite: bool) -> None:
    """Stop the server, politely or as if it had crashed, and start it again."""
    assert server.path is not None
    cluster = Cluster(server.path)
    with cluster.control():
        cluster.stop(immediately=not polite)
        cluster.ensure_running(SETTINGS)


async def play(server: EmbeddedPostgres, ledger: Ledger, *, starts: int = 6, polite: bool) -> None:
    """Restart the server after so many more bodies have begun."""
    wanted = min(len(ledger.starts()) + starts, len(random_dag.assets))  # of whom some may be done
    await eventually(partial(ledger.has_starts, wanted))
    await asyncio.to_thread(restart, server, polite=polite)


async def test_a_worker_goes_on_after_restarts(
    server: EmbeddedPostgres, app: FlowStone, dsn: str, spawn: Spawner, ledger: Ledger
) -> None:
    handle = await app.enqueue_many(random_dag)
    worker = spawn.worker(dsn, "random_dag", slots=2, lease=LONG)
    await play(server, ledger, polite=False)
    await play(server, ledger, polite=True)
    values = await handle.result(timeout=60)

    assert len(values) == len(random_dag.assets)
    assert not worker.has_ended
    async with connected(dsn) as pg:
        rows = await assert_completed_once(pg, ledger, handle.run_id)
    assert len(ledger.starts()) == len(rows), "something ran twice, and no worker died"


@pytest.mark.parametrize("polite", [False, True], ids=["crash", "fast"])
async def test_one_who_waits_for_a_result_goes_on_waiting(
    server: EmbeddedPostgres,
    app: FlowStone,
    dsn: str,
    spawn: Spawner,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    polite: bool,
) -> None:
    monkeypatch.setattr("flowstone.core.until_ended.POLL_SECONDS", 0.05)
    spawn.worker(dsn, "gated", slots=2, lease=LONG)
    handle = await app.enqueue(held)
    waiting = asyncio.create_task(handle.result(timeout=60))
    await play(server, ledger, starts=1, polite=polite)
    ledger.open_gate("held-1")

    (start,) = ledger.starts()
    assert (await waiting).token == start.token
    assert [it.getMessage() for it in caplog.records if it.name.startswith("asyncpg")] == []


@pytest.mark.parametrize("polite", [False, True], ids=["crash", "fast"])
async def test_one_who_runs_here_and_now_goes_on(
    server: EmbeddedPostgres,
    app: FlowStone,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    polite: bool,
) -> None:
    monkeypatch.setattr("flowstone.core.local_run.OTHERS_SECONDS", 0.05)
    running = asyncio.create_task(app.run(held))
    await play(server, ledger, starts=1, polite=polite)
    ledger.open_gate("held-1")

    (start,) = ledger.starts()
    assert (await running).token == start.token
