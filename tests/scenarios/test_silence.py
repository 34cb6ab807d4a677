"""A server that was stopped, or a proxy that lost it: connections stay open, and nobody answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.contracts.store import Capacity, WorkerInfo
from flowstone.core.errors import DatabaseUnreachableError
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine import connecting
from flowstone.engine.store import PostgresStore
from tests.scenarios.conftest import PIPELINES
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.lossy_proxy import LossyProxy
from tests.scenarios.pipelines.gated import after_held, held

SHORT = 0.5


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(dsn).listening() as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: LossyProxy) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(proxy.dsn)
    await store.open()
    yield store
    await store.close()


@contextmanager
def impatience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for an answer only shortly; whoever does answer may take as long as it likes again."""
    with monkeypatch.context() as patch:
        patch.setattr("flowstone.engine.store.TURN_SECONDS", SHORT)
        patch.setattr("flowstone.engine.store_calls.CALL_SECONDS", SHORT)
        yield


async def test_a_worker_whose_turn_is_not_answered_asks_again_and_goes_on(
    app: FlowStone,
    proxy: LossyProxy,
    pg: asyncpg.Connection,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = await app.enqueue(after_held)
    async with FlowStone(PIPELINES, dsn=proxy.dsn) as here:
        worker = here.worker(WorkerOptions({DEFAULT_QUEUE: 2}, lease=timedelta(seconds=25)))
        working = asyncio.create_task(worker.run())
        await eventually(lambda: ledger.starts())
        with impatience(monkeypatch):
            proxy.fall_silent()
            ledger.open_gate("held-1")
            await eventually(lambda: "The store does not answer" in caplog.text)
        proxy.speak()
        await until_ended(pg, handle.run_id)
        worker.stop()
        await working

    await assert_completed_once(pg, ledger, handle.run_id)
    assert len(ledger.starts(held.full_name)) == 1


async def test_what_is_not_answered_is_given_up_and_its_connection_with_it(
    store: PostgresStore, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_id = await store.register_worker(WorkerInfo("here", 1, []))
    await store.turn(worker_id, [], Capacity())
    proxy.forget_connections()

    with impatience(monkeypatch):
        with pytest.raises(DatabaseUnreachableError):
            await store.turn(worker_id, [], Capacity())
        with pytest.raises(DatabaseUnreachableError, match="no answer in time"):
            await store.owned(worker_id)

    await store.turn(worker_id, [], Capacity())
    assert await store.owned(worker_id) == []


async def test_a_heartbeat_that_is_not_answered_takes_another_connection(
    store: PostgresStore, proxy: LossyProxy, pg: asyncpg.Connection
) -> None:
    async def has_beaten() -> bool:
        return bool(
            await pg.fetchval(
                "SELECT heartbeat_at > $2 FROM flowstone.flowstone_workers WHERE id = $1",
                worker_id,
                since,
            )
        )

    worker_id = await store.register_worker(WorkerInfo("here", 1, []))
    async with store.beating(lambda: worker_id, timedelta(seconds=0.2)):
        for _ in range(2):
            since = await pg.fetchval("SELECT clock_timestamp()")
            await eventually(has_beaten)
            proxy.forget_connections()


async def test_closing_waits_a_moment_for_connections_that_went_silent(
    proxy: LossyProxy, dsn: str
) -> None:
    store = PostgresStore(proxy.dsn)
    await store.open()
    transaction = await store.begin("asyncpg", idle_limit=timedelta(seconds=10))
    await transaction.roll_back()
    proxy.forget_connections()

    async with asyncio.timeout(60):
        await store.close()


async def test_a_call_behind_a_pooler_that_is_cut_short_waits_for_no_answer(
    proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_behind_a_pooler", {proxy.dsn})
    connection = await connecting.connect(proxy.dsn)
    call = asyncio.create_task(connection.fetch("SELECT $1::int FROM pg_sleep(60)", 1))
    await eventually(lambda: connection.is_in_transaction())
    proxy.forget_connections()

    call.cancel()

    done, _ = await asyncio.wait([call], timeout=60)
    assert done == {call}
    assert connection.is_closed()
