"""Time that a test owns."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.core.retention import Retention
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.schema import migrate
from flowstone.testing import (
    Applications,
    Drained,
    OwnedClock,
    advance,
    drain,
    mark_as_test,
    memory_app,
)
from tests.testing.a_shop import an_app, ends, working

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.flowstone_both
class TestAdvancing:
    async def test_makes_due_what_falls_due_meanwhile(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(ends.with_("well"), delay="1h")
            await app.enqueue(ends.with_("well"), delay="3h")

            await advance(app, "2h")

            assert await drain(app) == Drained(succeeded=1)

    async def test_is_heard_by_a_worker_that_sleeps_until_then(
        self, flowstone_app: Applications
    ) -> None:
        seldom = WorkerOptions(queues={"default": 4}, poll_interval=timedelta(minutes=5))
        async with flowstone_app(an_app()) as app, working(app, seldom) as worker:
            job = await app.enqueue(ends.with_("well"), delay="1h")
            # Heard after the first, so that the worker knows of it when it sleeps again.
            await (await app.enqueue(ends.with_("well"))).result(timeout="60s")
            await asyncio.wait_for(worker.wait_idle(), 10)

            await advance(app, timedelta(hours=1))

            assert await job.result(timeout="60s") == "well"

    async def test_keeps_what_was_stored_in_order(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            job = await app.enqueue(ends.with_("well"))
            await drain(app)
            before = await job.status()
            await advance(app, "1d")
            after = await job.status()
            later = await (await app.enqueue(ends.with_("well"))).status()

            assert before.finished_at is not None
            assert after.finished_at is not None
            assert after.started_at is not None
            assert after.enqueued_at <= after.started_at <= after.finished_at
            gap = later.enqueued_at - after.finished_at
            assert gap >= timedelta(days=1)

    async def test_lets_what_has_ended_grow_old(self, flowstone_app: Applications) -> None:
        old = Pipeline("old")

        @old.asset
        async def orders() -> int:
            return 1

        keep = Retention("30d")
        async with flowstone_app(old) as app:
            await app.run(orders)
            assert sum((await app.store.prunable(keep)).runs.values()) == 0

            await advance(app, "31d")

            assert sum((await app.store.prunable(keep)).runs.values()) == 1

    async def test_leaves_living_workers_alive(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app, working(app):
            job = await app.enqueue(ends.with_("well"))
            await job.result(timeout="60s")
            await advance(app, "1h")

            assert await app.store.rescue(max_rescues=5) == []
            assert await (await app.enqueue(ends.with_("well"))).result(timeout="60s") == "well"

    async def test_refuses_to_go_back(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            with pytest.raises(InvalidOptionError, match="negative"):
                await advance(app, timedelta(-1))


class TestAClock:
    def test_goes_on_with_the_machine(self) -> None:
        clock = OwnedClock()
        before = datetime.now(UTC)
        clock.advance(timedelta(hours=1))

        assert before <= clock.now() - timedelta(hours=1) <= datetime.now(UTC)

    def test_stands_still_at_an_instant(self) -> None:
        clock = OwnedClock(NOON)
        clock.advance(timedelta(minutes=5))

        assert clock.now() == NOON + timedelta(minutes=5)

    def test_wants_a_time_zone(self) -> None:
        with pytest.raises(InvalidOptionError, match="time zone"):
            OwnedClock(datetime(2030, 1, 1))

    async def test_is_that_of_an_application_in_memory(self) -> None:
        async with memory_app(an_app(), clock=OwnedClock(NOON)) as app:
            job = await app.enqueue(ends.with_("well"), delay="1h")

            assert (await job.status()).enqueued_at == NOON
            assert (await job.status()).not_before == NOON + timedelta(hours=1)
            await advance(app, "1h")
            assert await drain(app) == Drained(succeeded=1)

    async def test_that_is_the_machines_is_not_moved(self) -> None:
        async with an_app() as app:
            with pytest.raises(InvalidOptionError, match=r"SystemClock.*memory_app"):
                await advance(app, "1h")


def test_an_application_in_memory_leaves_the_given_one_as_it_is() -> None:
    given = an_app()
    moved = memory_app(given)

    assert moved.store is not given.store
    assert isinstance(moved.store, MemoryStore)
    assert moved.definitions is given.definitions


class TestADatabase:
    async def test_that_is_not_marked_keeps_its_time(self, bare_dsn: str) -> None:
        migrate(bare_dsn)
        async with FlowStone(Pipeline("p"), dsn=bare_dsn) as app:
            with pytest.raises(InvalidOptionError, match=r"not marked.*mark_as_test"):
                await advance(app, "1h")

            await mark_as_test(bare_dsn)

            await advance(app, "1h")

    async def test_is_marked_schema_by_schema(self, bare_dsn: str) -> None:
        for schema in ("flowstone", "other"):
            migrate(bare_dsn, schema)
        await mark_as_test(bare_dsn, schema="other")

        async with FlowStone(Pipeline("p"), dsn=bare_dsn, schema="other") as app:
            await advance(app, "1h")
        async with FlowStone(Pipeline("p"), dsn=bare_dsn) as app:
            with pytest.raises(InvalidOptionError, match="'flowstone'"):
                await advance(app, "1h")

    @pytest.mark.flowstone_postgres
    async def test_moves_nothing_that_is_not_ours(
        self, flowstone_app: Applications, flowstone_dsn: str
    ) -> None:
        with psycopg.connect(flowstone_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE flowstone.orders AS SELECT now() AS ordered_at")
            before = connection.execute("SELECT * FROM flowstone.orders").fetchone()
            async with flowstone_app(an_app()) as app:
                await advance(app, "1d")

            assert connection.execute("SELECT * FROM flowstone.orders").fetchone() == before
