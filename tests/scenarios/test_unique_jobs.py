"""
Unique jobs among real processes: clients that race, transactions that last, workers that die.

``RACE_TIMES=10`` lets them race for so many times as much.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.errors import JobExistsError
from flowstone.core.status import Status
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, connected
from tests.scenarios.pipelines.uniques import (
    beside,
    lasting,
    refused,
    returning,
    synced,
    uniques,
    urged,
)
from tests.scenarios.spawned import Spawned, Spawner
from tests.scenarios.test_callers_transaction import Opening, on_asyncpg, on_every_driver

CLIENTS = 3
WORKERS = 2
TIMES_AS_MUCH = int(os.environ.get("RACE_TIMES", "1"))
BATCHES = 400 * TIMES_AS_MUCH

TWICE = """
SELECT unique_key, array_agg(id || ' ' || status) FROM flowstone.flowstone_materializations
WHERE (status IN ('ready', 'waiting') OR status = 'running' AND unique_states & 2 <> 0)
    AND unique_key IS NOT NULL
    AND (unique_until <= clock_timestamp()) IS NOT TRUE
GROUP BY unique_key HAVING count(*) > 1
"""
EXPIRE = """
UPDATE flowstone.flowstone_materializations
SET unique_until = clock_timestamp() - interval '1 s'
"""
VIOLATIONS = "SELECT * FROM flowstone.flowstone_unique_violations_v1()"
OPEN = """
SELECT count(*) FROM flowstone.flowstone_materializations
WHERE status IN ('ready', 'waiting', 'running')
"""
CREATED = "SELECT count(*) FROM flowstone.flowstone_materializations"
SUPERSEDED = """
SELECT count(*) FROM flowstone.flowstone_materializations
WHERE status = 'cancelled' AND error ->> 'code' = 'superseded'
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    """The application of the one who enqueues; it works on nothing itself."""
    async with FlowStone(uniques, dsn=dsn) as app:
        yield app


@pytest.mark.timeout(180 * TIMES_AS_MUCH)
async def test_clients_and_workers_that_race_never_leave_two_of_one_key(
    dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    def start(role: str, seed: int) -> Spawned:
        given = {"dsn": dsn, "role": role, "seed": seed, "batches": BATCHES}
        return spawn.start("unique_rival", given)

    clients = [start("client", seed) for seed in range(CLIENTS)]
    workers = [start("worker", seed) for seed in range(WORKERS)]
    looks = 0
    while not all(it.has_ended for it in clients):
        assert await pg.fetch(TWICE) == []
        assert await pg.fetch(VIOLATIONS) == []
        looks += 1
        await asyncio.sleep(0.05)
    assert looks > 10
    ledger.open_gate("no-more")
    assert [await it.exit_code() for it in (*clients, *workers)] == [0] * 5

    found: Counter[str] = Counter()
    for client in clients:
        found.update(json.loads(client.output().splitlines()[-1]))
    assert await pg.fetchval(CREATED) == found["created"]
    assert min(found.values()) > 100, found
    assert await pg.fetchval(SUPERSEDED) > 0
    assert await pg.fetchval(OPEN) == 0
    assert await pg.fetch(VIOLATIONS) == []
    assert await pg.fetch("SELECT * FROM flowstone.flowstone_unique_keys") == []


class TestCallersTransaction:
    """A key that is taken in a transaction is taken by its commit."""

    async def test_one_that_is_rolled_back_has_taken_no_key(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection
    ) -> None:
        async with on_asyncpg(dsn) as caller:
            await app.enqueue(synced.with_("a"), conn=caller.conn)
            await caller.rollback()
        assert await pg.fetch("SELECT * FROM flowstone.flowstone_unique_keys") == []
        assert (await app.enqueue(synced.with_("a"))).created

    @pytest.mark.parametrize("commits", [True, False])
    async def test_who_wants_the_same_key_waits_for_its_end(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, commits: bool
    ) -> None:
        async with on_asyncpg(dsn) as caller:
            first = await app.enqueue(synced.with_("a"), conn=caller.conn)
            second = asyncio.create_task(app.enqueue(synced.with_("a")))
            await eventually(partial(behind_a_lock, pg, "flowstone_enqueue_jobs_v1"))
            # Others are not held up.
            assert (await app.enqueue(synced.with_("b"))).created
            await (caller.commit() if commits else caller.rollback())
            handle = await second

        assert handle.created is not commits
        assert (handle.job_id == first.job_id) is commits

    async def test_one_that_has_only_found_a_job_holds_nothing_up(
        self, app: FlowStone, dsn: str, spawn: Spawner
    ) -> None:
        first = await app.enqueue(synced.with_("a"))
        async with on_asyncpg(dsn) as caller:
            again = await app.enqueue(synced.with_("a"), conn=caller.conn)
            assert again.job_id == first.job_id
            spawn.worker(dsn, "uniques")
            assert await first.result(timeout=60) == "a"
            assert (await app.enqueue(synced.with_("a"))).created
            await caller.commit()

    @on_every_driver
    async def test_one_that_was_told_of_a_conflict_can_go_on(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, opening: Opening
    ) -> None:
        first = await app.enqueue(refused.with_("a"))
        async with opening(dsn) as caller:
            with pytest.raises(JobExistsError) as told:
                await app.enqueue_many([refused.with_("new"), refused.with_("a")], conn=caller.conn)
            assert told.value.job_id == first.job_id
            other = await app.enqueue(refused.with_("b"), conn=caller.conn)
            await caller.commit()

        assert (await other.status()).status is Status.READY
        assert await pg.fetchval(OPEN) == 2
        assert await pg.fetch(VIOLATIONS) == []

    @pytest.mark.parametrize("commits", [True, False])
    async def test_a_job_that_comes_back_waits_for_it_alone(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
        commits: bool,
    ) -> None:
        job = await app.enqueue(returning.with_())
        spawn.worker(dsn, "uniques")
        await eventually(partial(ledger.has_starts, 1))
        async with on_asyncpg(dsn) as caller:
            twin = await app.enqueue(returning.with_(), conn=caller.conn, delay="1h")
            ledger.open_gate("fail")
            await eventually(partial(behind_a_lock, pg, "flowstone_turn_v1"))
            other = await app.enqueue(beside.with_())
            assert await other.result(timeout=60) == "done"
            assert (await job.status()).status is Status.RUNNING
            await (caller.commit() if commits else caller.rollback())

        record = await job.wait(timeout=60)
        assert record.status is (Status.CANCELLED if commits else Status.SUCCEEDED)
        assert twin.created
        assert await pg.fetch(VIOLATIONS) == []

    async def test_batches_in_any_order_never_wait_for_each_other(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection
    ) -> None:
        # As keys are hashes, one of the orders of three is the wrong one for each of two.
        names = [str(number) for number in range(12)]
        async with on_asyncpg(dsn) as first, on_asyncpg(dsn) as one, on_asyncpg(dsn) as other:
            await app.enqueue(synced.with_(names[6]), conn=first.conn)
            enqueueing = [
                asyncio.create_task(
                    app.enqueue_many([synced.with_(it) for it in ordered], conn=caller.conn)
                )
                for ordered, caller in [(names, one), (names[::-1], other)]
            ]
            await eventually(partial(behind_a_lock, pg, "flowstone_enqueue_jobs_v1", count=2))
            await first.rollback()
            done, waiting = await asyncio.wait(
                enqueueing, return_when=asyncio.FIRST_COMPLETED, timeout=60
            )
            assert (len(done), len(waiting)) == (1, 1)
            await (one if enqueueing[0] in done else other).commit()
            counts = [sum(it.created for it in await task) for task in enqueueing]
        assert sorted(counts) == [0, 12]

    async def test_one_whose_snapshot_lasts_takes_what_is_free_by_now(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection
    ) -> None:
        free, held = await app.enqueue_many([synced.with_(it) for it in "ab"])
        async with connected(dsn) as own, own.transaction(isolation="repeatable_read"):
            assert await own.fetchval("SELECT count(*) FROM flowstone.flowstone_unique_keys") == 2
            await free.cancel()
            calls = [synced.with_(it) for it in "ab"]
            async with asyncio.timeout(60):
                taken, found = await app.enqueue_many(calls, conn=own)
            assert taken.created
            assert (found.job_id, found.created) == (held.job_id, False)

        assert (await app.enqueue(synced.with_("a"))).job_id == taken.job_id
        assert await pg.fetch(VIOLATIONS) == []

    async def test_one_that_takes_over_a_key_does_not_hold_up_its_last_holder(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        job = await app.enqueue(lasting.with_())
        spawn.worker(dsn, "uniques")
        await eventually(partial(ledger.has_starts, 1))
        await pg.execute(EXPIRE)
        async with on_asyncpg(dsn) as caller:
            assert (await app.enqueue(lasting.with_(), conn=caller.conn)).created
            ledger.open_gate("end")
            assert await job.result(timeout=60) == 1
            await caller.rollback()

        # What he did not take is free, as its window has passed.
        assert await pg.fetch(VIOLATIONS) == []
        assert (await app.enqueue(lasting.with_())).created

    async def test_nor_one_who_cancels_it_by_hand(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection
    ) -> None:
        job = await app.enqueue(lasting.with_())
        await pg.execute(EXPIRE)
        async with on_asyncpg(dsn) as caller:
            assert (await app.enqueue(lasting.with_(), conn=caller.conn)).created
            async with asyncio.timeout(60):
                await job.cancel()
            await caller.rollback()

        assert await pg.fetch(VIOLATIONS) == []


async def test_one_that_is_put_forward_is_heard_of_at_once(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    job = await app.enqueue(urged.with_("later"), delay="1h")
    spawn.worker(dsn, "uniques", poll_interval=3600.0, lease=60)
    await eventually(lambda: pg.fetchval("SELECT count(*) = 1 FROM flowstone.workers"))
    idle = await app.enqueue(beside.with_())
    assert await idle.result(timeout=60) == "done"

    assert (await app.enqueue(urged.with_("now"))).replaced
    assert await job.result(timeout=60) == "now"
