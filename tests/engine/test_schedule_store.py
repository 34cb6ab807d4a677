"""Ticks among others: who has not committed yet, who is rolled back, who starts meanwhile."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from flowstone.core.contracts.schedule_store import Advance, DueSchedule
from flowstone.core.errors import DatabaseError
from flowstone.core.unique_key import JobState, UniqueKey
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_schedules import due, new_schedule, one
from flowstone.testing.contracts.store_contract_ticks import tick
from flowstone.testing.contracts.store_runs import new_worker
from flowstone.testing.contracts.store_unique_jobs import WAITING, unique_job

TICK = """
SELECT * FROM flowstone.flowstone_tick_schedules_v1(
    ARRAY[$1], ARRAY[$2], ARRAY[$3], ARRAY[$4]::timestamptz[],
    ARRAY[$4::timestamptz + interval '1 day'],
    ARRAY[$1], ARRAY[$4]::timestamptz[]
)
"""


@pytest.fixture
async def read(store: PostgresStore) -> DueSchedule:
    """A schedule that is due."""
    await store.put_schedule(await new_schedule(store, first=timedelta(0)))
    [read] = await due(store)
    return read


async def begin_tick(pg: asyncpg.Connection, read: DueSchedule) -> None:
    await pg.execute(TICK, read.name, read.cron, read.timezone, read.next_at)


class TestWhoHasNotCommitted:
    async def test_is_not_waited_for_and_his_tick_is_not_enqueued_again(
        self, store: PostgresStore, pg: asyncpg.Connection, read: DueSchedule
    ) -> None:
        async with pg.transaction():
            await begin_tick(pg, read)

            assert await asyncio.wait_for(tick(store, read), 10) == []

        assert await tick(store, read) == []
        assert len(await (await new_worker(store)).claims()) == 1

    async def test_and_never_does_leaves_the_tick_to_others(
        self, store: PostgresStore, pg: asyncpg.Connection, read: DueSchedule
    ) -> None:
        transaction = pg.transaction()
        await transaction.start()
        await begin_tick(pg, read)
        await transaction.rollback()

        [ticked] = await tick(store, read)

        [claim] = await (await new_worker(store)).claims()
        assert claim.id == ticked.job_id
        assert (await one(store)).last_at == read.next_at

    async def test_holds_up_no_other_schedule(
        self, store: PostgresStore, pg: asyncpg.Connection, read: DueSchedule
    ) -> None:
        await store.put_schedule(await new_schedule(store, "shop.other", first=timedelta(0)))
        found = await due(store)
        async with pg.transaction():
            await begin_tick(pg, read)

            ticked = await asyncio.wait_for(tick(store, *found), 10)

        assert [it.name for it in ticked] == ["shop.other"]


class TestWhoIsAboutToEnqueueAUniqueJob:
    """In a transaction that stays open: a tick with the same key has to wait for its end."""

    async def test_holds_up_its_schedule_alone(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        for name in ("shop.a", "shop.held", "shop.z"):
            schedule = await new_schedule(store, name, first=timedelta(0))
            schedule.unique = UniqueKey(name, frozenset([JobState.WAITING]))
            await store.put_schedule(schedule)
        found = await due(store)
        transaction = pg.transaction()
        await transaction.start()
        await store.enqueue([unique_job("shop.held", states=WAITING)], conn=pg)

        ticked = await asyncio.wait_for(tick(store, *found), 10)
        assert [it.name for it in ticked] == ["shop.a", "shop.z"]
        assert all(it.job_id for it in ticked)
        assert [it.name for it in await due(store)] == ["shop.held"]

        await transaction.rollback()
        [later] = await tick(store, *await due(store))
        assert later.name == "shop.held"
        jobs = [it.job_id for it in (*ticked, later)]
        assert sorted(it.id for it in await (await new_worker(store)).claims()) == sorted(jobs)

    async def test_and_does_leaves_it_his_job(
        self, store: PostgresStore, pg: asyncpg.Connection, read: DueSchedule
    ) -> None:
        schedule = await new_schedule(store, first=timedelta(0))
        schedule.unique = UniqueKey("k", frozenset([JobState.WAITING]))
        await store.put_schedule(schedule)
        async with pg.transaction():
            [first] = await store.enqueue([unique_job(states=WAITING)], conn=pg)
            assert await asyncio.wait_for(tick(store, read), 10) == []

        [ticked] = await tick(store, read)
        assert ticked.job_id == first.job_id


async def test_a_step_that_fails_leaves_the_schedule_where_it_was(
    store: PostgresStore, pg: asyncpg.Connection, read: DueSchedule
) -> None:
    before = await one(store)
    await pg.execute(
        "ALTER TABLE flowstone.procrastinate_jobs ADD CONSTRAINT no_jobs CHECK (false)"
    )

    with pytest.raises(DatabaseError, match="no_jobs"):
        await store.advance_schedules(
            [Advance(read, [read.next_at], read.next_at + timedelta(days=1))]
        )

    assert await one(store) == before
