"""Nobody ever hears a notification, and LISTEN seems to work: what is lost is polled for."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.status import RunStatus
from tests.scenarios.conftest import PIPELINES
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.lossy_proxy import LossyProxy
from tests.scenarios.pipelines.gated import held, plain
from tests.scenarios.spawned import Spawner

LISTENS = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'
)
"""


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(dsn).listening() as proxy:
        proxy.is_mute = True
        yield proxy


@pytest.fixture
async def deaf(
    proxy: LossyProxy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FlowStone]:
    """An application that no notification reaches, and that looks the sooner by itself."""
    monkeypatch.setattr("flowstone.core.until_ended.POLL_SECONDS", 0.5)
    async with FlowStone(PIPELINES, dsn=proxy.dsn) as deaf:
        yield deaf


async def test_what_is_enqueued_starts_and_its_end_is_seen(
    deaf: FlowStone, proxy: LossyProxy, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    async def followed() -> list[str]:
        return [event.status.value async for event in deaf.subscribe(run=handle.run_id)]

    spawn.worker(proxy.dsn, "gated", poll_interval=0.2, lease=25)
    before = await deaf.enqueue(plain)
    await before.result(timeout=60)
    await eventually(lambda: pg.fetchval(LISTENS))

    handle = await deaf.enqueue(held)
    following = asyncio.create_task(followed())
    result = asyncio.create_task(handle.result(timeout=60))
    await eventually(lambda: bool(ledger.starts(held.full_name)))
    ledger.open_gate("held-1")

    assert (await result).attempt == 1
    assert (await asyncio.wait_for(following, 60))[-1] == "succeeded"
    await eventually(lambda: proxy.swallowed)


async def test_who_is_asked_to_stop_finds_it_out(
    deaf: FlowStone, proxy: LossyProxy, spawn: Spawner, ledger: Ledger
) -> None:
    spawn.worker(proxy.dsn, "gated", poll_interval=0.2, lease=2)
    handle = await deaf.enqueue(held)
    await eventually(lambda: ledger.has_starts(1))

    await handle.cancel()

    assert (await handle.wait(timeout=60)).status is RunStatus.CANCELLED
