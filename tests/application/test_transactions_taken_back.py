"""``ctx.transaction()``: when what a function wrote is taken back, or refused."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from flowstone import Context, JobContext, Pipeline, Retry
from flowstone.core.errors import (
    DatabaseError,
    JobCancelledError,
    RunFailedError,
)
from flowstone.core.worker_options import WorkerOptions
from tests.application.conftest import AppOf, on_postgres
from tests.application.entries import DriverName, Entries, with_every_driver, write
from tests.application.stage import Heard, PostgresStage, drain, eventually, working
from tests.scenarios.locks import behind_a_lock, connected

WAIT_FOR_ONE = "SELECT pg_advisory_xact_lock(1)"


@on_postgres
class TestTakenBack:
    @with_every_driver
    @pytest.mark.parametrize("place", ["in the block", "after the block"])
    async def test_an_exception_takes_the_writes_back_and_the_next_attempts_commit(
        self, app_of: AppOf, entries: Entries, driver: DriverName, place: str
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=Retry(2, base="0s"))
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction(driver) as conn:
                await write(conn, f"attempt {ctx.attempt}")
                if ctx.attempt == 1 and place == "in the block":
                    raise RuntimeError(place)
            if ctx.attempt == 1:
                raise RuntimeError(place)

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        await handle.result(timeout=60)
        assert entries.notes == ["attempt 2"]
        assert len(await handle.failed_attempts()) == 1

    async def test_one_that_the_function_catches_leaves_it_without_a_transaction(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> str:
            try:
                async with ctx.transaction() as conn:
                    await write(conn, "undone")
                    raise ZeroDivisionError
            except ZeroDivisionError:
                return "caught"

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        assert await handle.result(timeout=60) == "caught"
        assert entries.notes == []

    @pytest.mark.parametrize("place", ["in the block", "after the block"])
    async def test_so_does_a_timeout(self, app_of: AppOf, entries: Entries, place: str) -> None:
        shop = Pipeline("shop")

        @shop.asset(timeout="0.3s", retry=1)
        async def balance(ctx: Context) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "undone")
                if place == "in the block":
                    await asyncio.Event().wait()
            await asyncio.Event().wait()

        app = await app_of(shop)
        with pytest.raises(RunFailedError, match="timed out"):
            await app.run(balance)

        assert entries.notes == []

    @pytest.mark.parametrize("place", ["in the block", "after the block"])
    async def test_so_does_a_cancel(self, app_of: AppOf, entries: Entries, place: str) -> None:
        shop = Pipeline("shop")
        has_written = asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "undone")
                if place == "in the block":
                    has_written.set()
                    await asyncio.Event().wait()
            has_written.set()
            await asyncio.Event().wait()

        app = await app_of(shop)
        async with working(app):
            handle = await app.enqueue(pay.with_())
            await has_written.wait()
            assert await handle.cancel()
            with pytest.raises(JobCancelledError):
                await handle.result(timeout=60)

        assert entries.notes == []

    async def test_so_does_a_stop_that_waits_no_longer_and_another_worker_does_it_anew(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        starts = []

        @shop.job
        async def pay(ctx: JobContext) -> None:
            starts.append(ctx.attempt)
            async with ctx.transaction() as conn:
                await write(conn, f"start {len(starts)}")
                if len(starts) == 1:
                    worker.stop()
                    await asyncio.Event().wait()

        app = await app_of(shop)
        worker = app.worker(WorkerOptions({"default": 1}, shutdown_timeout=timedelta(0)))
        handle = await app.enqueue(pay.with_())
        await asyncio.wait_for(worker.run(), 10)
        assert entries.notes == []
        await drain(app)

        await handle.result(timeout=60)
        assert entries.notes == ["start 2"]
        assert starts == [1, 1]

    async def test_an_error_of_the_commit_itself_fails_the_attempt(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=Retry(2, base="0s"))
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "one")
                if ctx.attempt == 1:
                    await write(conn, "one")  # the constraint is looked at when it commits

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        await handle.result(timeout=60)
        assert entries.notes == ["one"]
        [failed] = await handle.failed_attempts()
        assert "duplicate key" in str(failed.error)


@on_postgres
class TestALostFence:
    async def test_what_was_taken_over_meanwhile_commits_nothing(
        self, app_of: AppOf, entries: Entries, admin: psycopg.Connection[Any]
    ) -> None:
        shop = Pipeline("shop")
        has_written, may_return = asyncio.Event(), asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext) -> str:
            async with ctx.transaction() as conn:
                await write(conn, f"attempt {ctx.attempt}")
            has_written.set()
            if ctx.attempt == 1:
                await may_return.wait()
            return f"by attempt {ctx.attempt}"

        app = await app_of(shop)
        heard = Heard(app)
        async with working(app):
            handle = await app.enqueue(pay.with_())
            await has_written.wait()
            with admin.transaction():  # or it might beat, or rescue itself, in between
                admin.execute("UPDATE flowstone_workers SET heartbeat_at = 'epoch'")
                assert len(list(admin.execute("SELECT flowstone_rescue_v1(5)"))) == 1
            may_return.set()
            assert await handle.result(timeout=60) == "by attempt 2"

        assert entries.notes == ["attempt 2"]
        assert [numbers for numbers, _ in heard.of("settlement.rejected")] == [{"count": 1}]

    async def test_a_lock_on_the_jobs_row_hands_it_back_with_its_writes(
        self,
        app_of: AppOf,
        entries: Entries,
        stage: PostgresStage,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        shop = Pipeline("shop")
        may_return = asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext) -> None:
            starts.append(ctx.attempt)
            async with ctx.transaction() as conn:
                await write(conn, f"start {len(starts)}")
            await may_return.wait()

        starts: list[int] = []
        app = await app_of(shop)
        async with working(app):
            handle = await app.enqueue(pay.with_())
            await eventually(lambda: starts)
            options = "-c search_path=flowstone"
            with psycopg.connect(stage.dsn, options=options) as other:
                other.execute("SELECT FROM procrastinate_jobs FOR UPDATE")
                may_return.set()
                await eventually(lambda: "its writes with it; it will be run again" in caplog.text)
            await handle.result(timeout=60)

        assert entries.notes == ["start 2"]
        assert starts == [1, 1]

    async def test_so_does_a_deadlock_with_who_waits_for_its_writes(
        self,
        app_of: AppOf,
        entries: Entries,
        stage: PostgresStage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("flowstone.core.worker_transactions.LOCKED_DELAY", timedelta(0))
        shop = Pipeline("shop")
        has_written, may_return = asyncio.Event(), asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext) -> None:
            starts.append(ctx.attempt)
            async with ctx.transaction() as conn:
                await conn.execute("SET LOCAL deadlock_timeout = '10ms'")
                await conn.execute(WAIT_FOR_ONE)
                await write(conn, f"start {len(starts)}")
            has_written.set()
            await may_return.wait()

        starts: list[int] = []
        app = await app_of(shop)
        async with working(app), connected(stage.dsn) as other, connected(stage.dsn) as watch:
            handle = await app.enqueue(pay.with_())
            await has_written.wait()
            await other.execute("BEGIN; SET LOCAL deadlock_timeout = '1min'")
            await other.execute("SELECT FROM flowstone.procrastinate_jobs FOR UPDATE")
            waiting = asyncio.create_task(other.execute(WAIT_FOR_ONE))
            await eventually(lambda: behind_a_lock(watch, WAIT_FOR_ONE))
            may_return.set()
            await waiting
            await other.execute("ROLLBACK")
            await handle.result(timeout=60)

        assert entries.notes == ["start 2"]
        assert starts == [1, 1]


@on_postgres
async def test_a_database_error_of_the_function_stays_what_it_is(
    app_of: AppOf, entries: Entries
) -> None:
    shop = Pipeline("shop")

    @shop.asset
    async def balance(ctx: Context) -> None:
        async with ctx.transaction() as conn:
            await conn.execute("SELECT 1 / 0")

    app = await app_of(shop)
    with pytest.raises(RunFailedError, match="division by zero") as caught:
        await app.run(balance)
    assert not isinstance(caught.value.__cause__, DatabaseError)
