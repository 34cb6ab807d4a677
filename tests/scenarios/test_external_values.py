"""Values as files, written by workers that die, or come late: what counts is never overwritten."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from flowstone import FlowStone
from tests.scenarios.consistency import until_ended
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.filed import IO, filed, held, plain
from tests.scenarios.spawned import Spawned, Spawner

AT_ONCE = timedelta()


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone(filed, dsn=dsn, io=IO) as app:
        yield app


def claims(ledger: Ledger) -> list[int]:
    """Return the claims that have a finished file, in their order."""
    files = (ledger.folder / "lake").rglob("[0-9]*.json")
    return sorted(int(it.name.split("-")[1]) for it in files)


def token_of(ledger: Ledger, worker: Spawned) -> str:
    (start,) = [it for it in ledger.starts() if it.pid == worker.pid]
    return start.token


class TestDeath:
    async def test_what_a_worker_wrote_and_never_settled_is_swept_and_only_when_it_is_lost(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        first = spawn.worker(dsn, "filed", lease=LONG)
        handle = await app.enqueue(held)
        ledger.open_gate("write-0")
        await eventually(lambda: ledger.is_open("written-0"))

        (under_way,) = await app.sweep(grace=AT_ONCE)
        assert (under_way.found_count, under_way.orphan_count) == (1, 0)
        assert claims(ledger) == [0]

        first.kill()
        await give_up(pg, first)
        second = spawn.worker(dsn, "filed", lease=LONG)
        await eventually(lambda: ledger.is_open("writing-1"))
        ledger.open_gate("write-1")
        ledger.open_gate("settle-1")
        await until_ended(pg, handle.run_id)
        assert claims(ledger) == [0, 1]

        (swept,) = await app.sweep(grace=AT_ONCE)

        assert (swept.found_count, swept.orphan_count) == (2, 1)
        assert claims(ledger) == [1]
        assert (await app.get(held)).token == token_of(ledger, second)

    async def test_a_file_that_was_never_finished_is_swept_too(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        spawn.worker(dsn, "filed", lease=LONG)
        made = await (await app.enqueue(plain)).result(timeout=60)
        (file,) = (ledger.folder / "lake").rglob("*.json")
        id_, _, origin = file.stem.split("-")
        torn = file.with_name(f".{id_}-7-{origin}.json.ab12cd34.tmp")
        torn.write_text('{"tok')

        (swept,) = await app.sweep(grace=AT_ONCE)

        assert (swept.found_count, swept.orphan_count) == (2, 1)
        assert not torn.exists()
        assert await app.get(plain) == made


class TestLateness:
    async def test_a_late_attempt_writes_beside_the_value_and_not_over_it(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        late = spawn.worker(dsn, "filed", lease=LONG)
        handle = await app.enqueue(held)
        await eventually(lambda: ledger.is_open("writing-0"))
        late.pause()
        await give_up(pg, late)
        other = spawn.worker(dsn, "filed", lease=LONG)
        for gate in ("write-1", "settle-1"):
            ledger.open_gate(gate)
        await until_ended(pg, handle.run_id)
        value = await handle.result()

        for gate in ("write-0", "settle-0"):
            ledger.open_gate(gate)
        late.go_on()
        await eventually(lambda: claims(ledger) == [0, 1])

        assert value.token == token_of(ledger, other)
        assert await app.get(held) == value
        (swept,) = await app.sweep(grace=AT_ONCE)
        assert (swept.found_count, swept.orphan_count) == (2, 1)
        assert claims(ledger) == [1]
        assert await app.get(held) == value

    async def test_two_workers_may_write_one_partition_at_once(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        workers = [spawn.worker(dsn, "filed", slots=1) for _ in range(2)]
        handles = [await app.enqueue(held, partition="eu", force=True) for _ in workers]
        await eventually(lambda: {it.pid for it in ledger.starts()} == {it.pid for it in workers})

        for gate in ("write-0", "settle-0"):
            ledger.open_gate(gate)
        values = [await handle.result(timeout=60) for handle in handles]

        assert {it.token for it in values} == {token_of(ledger, it) for it in workers}
        assert await app.get(held, partition="eu") in values
        (swept,) = await app.sweep(grace=AT_ONCE)
        assert (swept.found_count, swept.orphan_count) == (2, 0)
        assert [await handle.result() for handle in handles] == values
