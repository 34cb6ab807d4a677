"""Who enqueues ticks is killed, also in the middle of one: none is lost, and none comes twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.scheduling import enqueue_due, synchronize
from flowstone.engine.dsn import for_asyncpg
from tests.scenarios.eventually import eventually
from tests.scenarios.lossy_proxy import LossyProxy
from tests.scenarios.pipelines.ticking import ticking
from tests.scenarios.spawned import Spawned, Spawner

LEADER = """
SELECT split_part(holder, '/', 2)::int FROM flowstone.flowstone_leases
WHERE name = 'schedules' AND held_until > clock_timestamp()
"""
LAPSE = """
UPDATE flowstone.flowstone_leases SET held_until = clock_timestamp() WHERE name = 'schedules'
"""
ENQUEUED = "SELECT count(*) FROM flowstone.jobs WHERE schedule = 'ticking.second'"
TICKS = "SELECT tick_at FROM flowstone.jobs WHERE schedule = 'ticking.second' ORDER BY tick_at"
STANDS_IN_A_TICK = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE query LIKE '%flowstone_tick_schedules_v1%' AND wait_event_type = 'Lock'
        AND datname = current_database() AND pid <> pg_backend_pid()
)
"""


async def leader(pg: asyncpg.Connection, workers: list[Spawned]) -> Spawned | None:
    pid = await pg.fetchval(LEADER)
    return next((it for it in workers if it.pid == pid), None)


async def until_enqueued(pg: asyncpg.Connection, more: int) -> None:
    """Wait until so many more ticks were enqueued."""
    wanted = await pg.fetchval(ENQUEUED) + more

    async def are_there() -> bool:
        return bool(await pg.fetchval(ENQUEUED) >= wanted)

    await eventually(are_there)


async def assert_each_second_once(pg: asyncpg.Connection) -> None:
    ticks: list[datetime] = [row["tick_at"] for row in await pg.fetch(TICKS)]
    assert ticks == [ticks[0] + timedelta(seconds=it) for it in range(len(ticks))]


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    yield connection
    await connection.close()


@pytest.mark.timeout(300)
async def test_a_leader_that_is_killed_around_a_tick_loses_none_and_doubles_none(
    dsn: str, pg: asyncpg.Connection, other: asyncpg.Connection, spawn: Spawner
) -> None:
    workers = [spawn.worker(dsn, "ticking", lease=1) for _ in range(2)]
    await until_enqueued(pg, 1)

    for in_the_middle in (True, False, True):
        victim = await eventually(lambda: leader(pg, workers))
        assert victim is not None
        if in_the_middle:
            async with other.transaction():
                # The tick has its schedule's row, and waits to insert the job.
                await other.execute("LOCK TABLE flowstone.procrastinate_jobs IN SHARE MODE")
                await eventually(lambda: pg.fetchval(STANDS_IN_A_TICK))
                victim.kill()
        else:
            await until_enqueued(pg, 1)
            victim.kill()
        workers.remove(victim)
        workers.append(spawn.worker(dsn, "ticking", lease=1))
        await pg.execute(LAPSE)  # as it does by itself half a minute later
        await until_enqueued(pg, 2)

    for worker in workers:
        worker.ask_to_stop()
    assert [await it.exit_code() for it in workers] == [0, 0]
    await assert_each_second_once(pg)


@pytest.fixture
async def many(dsn: str) -> AsyncIterator[list[FlowStone]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FlowStone(ticking, dsn=dsn)) for _ in range(4)]


@pytest.mark.timeout(300)
async def test_four_that_all_believe_to_lead_enqueue_each_second_once(
    pg: asyncpg.Connection, many: list[FlowStone]
) -> None:
    async def lead(app: FlowStone) -> None:
        while True:
            await asyncio.sleep(min(await enqueue_due(app, app._schedule_rows), 0.3))

    app = many[0]
    await synchronize(app.store, app._schedule_rows, ["ticking"], app.definitions.schedules)
    leading = [asyncio.create_task(lead(it)) for it in many]

    await until_enqueued(pg, 4)

    for task in leading:
        task.cancel()
    await asyncio.gather(*leading, return_exceptions=True)
    await assert_each_second_once(pg)


@pytest.mark.timeout(300)
async def test_without_notifications_a_schedule_that_is_added_is_found_by_polling(
    dsn: str, pg: asyncpg.Connection, spawn: Spawner
) -> None:
    async with LossyProxy(dsn).listening() as proxy:
        proxy.is_mute = True
        spawn.worker(proxy.dsn, "batch", "ticking", poll_interval=0.2)
        await eventually(lambda: pg.fetchval(LEADER))
        async with FlowStone(ticking, dsn=dsn) as app:
            await app.schedules.pause("second")
            await app.schedules.add("added", "* * * * * *", ticking.jobs[0].with_())

        async def is_enqueued() -> bool:
            found = "SELECT EXISTS (SELECT FROM flowstone.jobs WHERE schedule = 'ticking.added')"
            return await pg.fetchval(found) is True

        await eventually(is_enqueued)
