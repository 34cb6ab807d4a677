"""``ctx.transaction()``: what a function writes commits with its settlement, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from flowstone import Cancel, Context, JobContext, Pipeline, Retry, Skip, Snooze
from flowstone.core.errors import (
    TransactionError,
)
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from tests.application.conftest import AppOf, on_postgres
from tests.application.entries import DriverName, Entries, with_every_driver, write
from tests.application.stage import PostgresStage, drain, eventually, statuses, working

COMMITTING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'COMMIT%'
"""


@asynccontextmanager
async def commit_held(stage: PostgresStage, note: str) -> AsyncIterator[None]:
    """Hold whoever commits this note, from before the block's end until after it."""
    # The constraint is looked at in the commit, which waits for what becomes of the same note here.
    async with await psycopg.AsyncConnection.connect(stage.dsn) as other:
        await other.execute("INSERT INTO public.entries VALUES (%s)", [note])
        yield
        await eventually(lambda: stage.admin.execute(COMMITTING).fetchone() == (1,))
        await other.rollback()


@on_postgres
class TestTogether:
    async def test_both_are_seen_at_the_same_instant(
        self, app_of: AppOf, entries: Entries, stage: PostgresStage
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "paid")

        app = await app_of(shop)
        async with working(app):
            async with commit_held(stage, "paid"):
                handle = await app.enqueue(pay.with_())
                await eventually(lambda: stage.admin.execute(COMMITTING).fetchone() == (1,))
                assert entries.notes == []
                assert (await handle.status()).status is Status.RUNNING
            await eventually(lambda: entries.notes == ["paid"])
            assert (await handle.status()).status is Status.SUCCEEDED

    async def test_a_stop_in_the_midst_of_the_commit_comes_too_late(
        self, app_of: AppOf, entries: Entries, stage: PostgresStage
    ) -> None:
        shop = Pipeline("shop")
        starts = []

        @shop.job
        async def pay(ctx: JobContext) -> str:
            starts.append(ctx.attempt)
            async with ctx.transaction() as conn:
                await write(conn, "paid")
            return "done"

        app = await app_of(shop)
        worker = app.worker(WorkerOptions({"default": 1}, shutdown_timeout=timedelta(0)))
        task = asyncio.create_task(worker.run())
        async with commit_held(stage, "paid"):
            handle = await app.enqueue(pay.with_())
            await eventually(lambda: stage.admin.execute(COMMITTING).fetchone() == (1,))
            worker.stop()
            await eventually(lambda: any(it.cancelling() for it in asyncio.all_tasks()))
        await asyncio.wait_for(task, 60)

        assert (await handle.status()).status is Status.SUCCEEDED
        assert entries.notes == ["paid"]
        await drain(app)
        assert starts == [1]

    @with_every_driver
    async def test_a_jobs_writes_and_its_settlement_are_one_transaction(
        self, app_of: AppOf, entries: Entries, driver: DriverName
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> str:
            async with ctx.transaction(driver) as conn:
                await write(conn, "paid")
            return "done"

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        assert await handle.result(timeout=60) == "done"
        assert entries.were_settled_with("shop.pay", "paid")

    @with_every_driver
    async def test_so_are_an_assets_and_what_follows_from_it(
        self, app_of: AppOf, entries: Entries, driver: DriverName, admin: psycopg.Connection[Any]
    ) -> None:
        shop = Pipeline("shop")

        @shop.asset
        async def balance(ctx: Context) -> int:
            async with ctx.transaction(driver) as conn:
                await write(conn, "balanced")
            return 7

        @shop.asset(after=[balance])
        async def report() -> int:
            return 8

        app = await app_of(shop)
        assert await app.run(report) == 8

        assert await app.get(balance) == 7
        assert entries.were_settled_with("shop.balance", "balanced")
        [(stored_by,)] = admin.execute(
            "SELECT v.xmin::text FROM flowstone_values v JOIN flowstone_materializations m"
            " ON m.id = v.materialization_id WHERE m.asset = 'shop.balance'"
        )
        assert stored_by == entries.written_by("balanced")

    async def test_nothing_is_seen_before_the_function_has_returned(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        is_past, may_return = asyncio.Event(), asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "paid")
            is_past.set()
            await may_return.wait()

        app = await app_of(shop)
        async with working(app):
            handle = await app.enqueue(pay.with_())
            await is_past.wait()
            assert entries.notes == []
            assert (await handle.status()).status is Status.RUNNING
            may_return.set()
            await handle.result(timeout=60)

        assert entries.notes == ["paid"]

    @pytest.mark.parametrize("outcome", [Skip("why"), Cancel("why"), Snooze("1h")], ids=repr)
    async def test_whatever_the_function_returns_says_so_with_its_writes(
        self, app_of: AppOf, entries: Entries, outcome: Skip | Cancel | Snooze
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> Skip | Cancel | Snooze | None:
            async with ctx.transaction() as conn:
                await write(conn, "seen")
            return outcome

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        expected = {Skip: "skipped", Cancel: "cancelled", Snooze: "ready"}[type(outcome)]
        assert (await handle.status()).status == expected
        assert entries.were_settled_with("shop.pay", "seen")

    @with_every_driver
    async def test_what_is_enqueued_on_it_exists_with_the_settlement(
        self, app_of: AppOf, entries: Entries, driver: DriverName
    ) -> None:
        shop = Pipeline("shop")
        attempts = []

        @shop.job(retry=Retry(2, base="0s"))
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction(driver) as conn:
                await app.enqueue(thank.with_(f"attempt {ctx.attempt}"), conn=conn)
            if ctx.attempt == 1:
                raise RuntimeError("after the block")

        @shop.job
        async def thank(note: str) -> None:
            attempts.append(note)

        app = await app_of(shop)
        await app.enqueue(pay.with_())
        await drain(app)

        assert attempts == ["attempt 2"]

    async def test_what_it_makes_ready_is_run_in_the_same_drain_though_nothing_is_heard(
        self, app_of: AppOf, entries: Entries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def deaf(queues: Sequence[str] = ()) -> None: ...

        shop = Pipeline("shop")

        @shop.asset
        async def balance(ctx: Context) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "balanced")

        @shop.asset(after=[balance])
        async def report() -> None: ...

        app = await app_of(shop)
        monkeypatch.setattr(app.store, "listen", deaf)
        handle = await app.enqueue(report)
        await drain(app)

        assert set((await statuses(app, handle.run_id)).values()) == {"succeeded"}

    async def test_what_it_makes_ready_wakes_a_worker_elsewhere(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.asset(queue="balances")
        async def balance(ctx: Context) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "balanced")

        @shop.asset(queue="reports", after=[balance])
        async def report() -> str:
            return "reported"

        app, elsewhere = await app_of(shop), await app_of(shop)
        never = timedelta(hours=1)
        other = elsewhere.worker(WorkerOptions({"reports": 1}, poll_interval=never))
        task = asyncio.create_task(other.run())
        await other.wait_idle()
        async with working(app, balances=1):
            handle = await app.enqueue(report)
            assert await handle.result(timeout=60) == "reported"
        other.stop()
        await task

    async def test_a_savepoint_fails_alone(self, app_of: AppOf, entries: Entries) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "kept")
                with suppress(ZeroDivisionError):
                    async with conn.transaction():
                        await write(conn, "undone")
                        raise ZeroDivisionError

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        await handle.result(timeout=60)
        assert entries.notes == ["kept"]

    async def test_a_session_of_sqlalchemys_may_commit_within_it(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=Retry(2, base="0s"))
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction("sqlalchemy") as conn, AsyncSession(bind=conn) as session:
                await write(session, f"attempt {ctx.attempt}")
                await session.commit()
            if ctx.attempt == 1:
                raise RuntimeError("after the block")

        app = await app_of(shop)
        await app.enqueue(pay.with_())
        await drain(app)

        assert entries.notes == ["attempt 2"]


class TestByHand:
    async def test_a_unit_test_gives_a_context_the_connection(self) -> None:
        class Given:
            async def __aenter__(self) -> str:
                return "a connection"

            async def __aexit__(self, *_: object) -> None: ...

        ctx = JobContext(job="shop.pay", job_id=1, transactions=lambda driver: Given())
        async with ctx.transaction() as conn:
            assert conn == "a connection"

    def test_without_one_the_error_says_how(self) -> None:
        with pytest.raises(TransactionError, match="transactions=lambda driver"):
            JobContext(job="shop.pay", job_id=1).transaction()
