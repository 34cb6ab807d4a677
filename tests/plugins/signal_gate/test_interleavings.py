"""Two who meet at one token, step by step, on Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.plugins.signal_gate import Answer, GateCoordinator, GateStatus, NewGate
from flowstone.testing.contracts.store_runs import begun, new_run, new_worker, waited
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

SIGNAL = "SELECT flowstone.signal_gate_signal('t', $1)"
CREATE = """
SELECT status
FROM flowstone.signal_gate_create_v1(
    ARRAY[$1::bigint], ARRAY[$2::integer], '{1}', '{t}', '{3600000}', '{fail}', '{0}', '{1}', true
)
"""


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
        assert await opener.fetchval(CREATE, claim.id, claim.claim) == "waiting"
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


async def test_one_whose_row_is_locked_holds_up_none_of_those_beside_it(
    app: FlowStone, gates: GateCoordinator, dsn: str, pg: asyncpg.Connection
) -> None:
    run = await new_run(app.store, {name: [] for name in "abcdefgh"})
    worker = await new_worker(app.store)
    claims = await worker.claim()

    def lock(name: str) -> str:
        return f"SELECT FROM flowstone.procrastinate_jobs WHERE id = {run[name]} FOR UPDATE"

    async with connected(dsn) as other, other.transaction():
        await other.execute(lock("c"))
        creating = {
            name: asyncio.create_task(gates.create(NewGate(it.id, it.claim, name)))
            for name, it in claims.items()
        }
        for name in "abdefgh":
            assert (await creating[name]).is_open
        await eventually(lambda: behind_a_lock(pg, "signal_gate_create_v1"))
    assert (await creating["c"]).is_open
    await worker.settle(*(waited(it, "signal") for it in claims.values()))

    async with connected(dsn) as other, other.transaction():
        await other.execute(lock("d"))
        sending = {name: asyncio.create_task(gates.signal(name, "1")) for name in "abcdefgh"}
        for name in "abcefgh":
            assert (await sending[name]).answer is Answer.ACCEPTED
        await eventually(lambda: behind_a_lock(pg, "signal_gate_signal_v1"))
    assert (await sending["d"]).answer is Answer.ACCEPTED


async def test_many_signals_at_once_are_few_commits(
    app: FlowStone, gates: GateCoordinator, pg: asyncpg.Connection
) -> None:
    await new_run(app.store, {f"n{number}": [] for number in range(60)})
    worker = await new_worker(app.store)
    claims = await worker.claim()
    opened = await asyncio.gather(
        *(gates.create(NewGate(it.id, it.claim, name)) for name, it in claims.items())
    )
    await worker.settle(*(waited(it, "signal") for it in claims.values()))

    answered = await asyncio.gather(*(gates.signal(name, "1") for name in claims))

    assert {it.answer for it in answered} == {Answer.ACCEPTED}
    commits = await pg.fetchval(
        "SELECT count(DISTINCT xmin::text) FROM flowstone.signal_gate_gates"
    )
    assert commits <= 4
    assert len({it.id for it in opened}) == 60
