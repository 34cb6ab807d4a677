"""Two who meet at one token, step by step, on Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.plugins.signal_gate import Answer, GateCoordinator, GateStatus, NewGate
from flowstone.testing.contracts.store_runs import begun, waited
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

SIGNAL = "SELECT answer FROM flowstone.signal_gate_signal_v1('t', $1)"
CREATE = "SELECT status FROM flowstone.signal_gate_create_v1($1, $2, 1, 't', $3, 'fail', 0, '{}')"
HOUR_MS = 3_600_000


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[FlowStone]:
    async with FlowStone([], dsn=dsn, plugins=["signal_gate"]) as app:
        yield app


@pytest.fixture
def gates(app: FlowStone) -> GateCoordinator:
    return app.coordinator(GateCoordinator)


async def test_a_gate_waits_for_a_signal_that_is_about_to_be_kept(
    app: FlowStone, gates: GateCoordinator, dsn: str, pg: asyncpg.Connection
) -> None:
    _, _, claim = await begun(app.store)
    async with connected(dsn) as sender, sender.transaction():
        assert await sender.fetchval(SIGNAL, "1") == "kept"
        creating = asyncio.create_task(gates.create(NewGate(claim.id, claim.claim, "t")))
        await eventually(lambda: behind_a_lock(pg, "signal_gate_create_v1"))

    assert (await creating).status is GateStatus.SIGNALED
    assert await pg.fetchval("SELECT count(*) FROM flowstone.signal_gates_early") == 0


async def test_a_signal_waits_for_a_gate_that_is_about_to_open(
    app: FlowStone, gates: GateCoordinator, dsn: str, pg: asyncpg.Connection
) -> None:
    _, _, claim = await begun(app.store)
    async with connected(dsn) as opener, opener.transaction():
        assert await opener.fetchval(CREATE, claim.id, claim.claim, HOUR_MS) == "waiting"
        signaling = asyncio.create_task(gates.signal("t", "1"))
        await eventually(lambda: behind_a_lock(pg, "signal_gate_signal_v1"))

    assert (await signaling).answer is Answer.ACCEPTED


async def test_the_second_of_two_signals_sees_the_first(
    app: FlowStone, gates: GateCoordinator, dsn: str, pg: asyncpg.Connection
) -> None:
    worker, _, claim = await begun(app.store)
    await gates.create(NewGate(claim.id, claim.claim, "t"))
    await worker.settle(waited(claim, "signal"))
    async with connected(dsn) as first, first.transaction():
        assert await first.fetchval(SIGNAL, "1") == "accepted"
        second = asyncio.create_task(gates.signal("t", "2"))
        await eventually(lambda: behind_a_lock(pg, "signal_gate_signal_v1"))

    assert (await second).answer is Answer.ALREADY_SIGNALED
    gate = await gates.find("t")
    assert gate is not None
    assert json.loads(gate.payload or "") == 1


async def test_a_signal_that_is_taken_back_was_never_there(
    app: FlowStone, gates: GateCoordinator, dsn: str
) -> None:
    worker, run, claim = await begun(app.store)
    await gates.create(NewGate(claim.id, claim.claim, "t"))
    await worker.settle(waited(claim, "signal"))
    async with connected(dsn) as sender:
        transaction = sender.transaction()
        await transaction.start()
        assert await sender.fetchval(SIGNAL, "1") == "accepted"
        await transaction.rollback()

    assert (await gates.find("t") or await gates.get(0)).is_open
    steps = {it.id: it.status for it in await app.store.materializations(run.id)}
    assert steps[run["a"]] == "waiting"
