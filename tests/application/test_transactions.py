"""``ctx.transaction()``: what a function writes commits with its settlement, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from flowstone import Cancel, Context, JobContext, Pipeline, Retry, Skip, Snooze
from flowstone.core.errors import (
    DatabaseError,
    JobCancelledError,
    JobFailedError,
    RunFailedError,
    TransactionError,
)
from flowstone.core.job_handle import JobHandle
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.caller_connection import fetch
from flowstone.engine.transaction_connections import MOST_OPEN
from tests.application.conftest import AppOf, in_memory, on_postgres
from tests.application.stage import Heard, PostgresStage, drain, eventually, statuses, working

DriverName = Literal["asyncpg", "psycopg", "sqlalchemy"]

with_every_driver = pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "sqlalchemy"])

# A row's xmin is the transaction that wrote it.
SETTLED_BY = """
SELECT m.xmin::text, j.xmin::text
FROM flowstone_materializations m JOIN procrastinate_jobs j USING (id)
WHERE m.asset = %s
"""
WRITTEN_BY = "SELECT xmin::text FROM public.entries WHERE note = %s"


async def write(conn: Any, note: str) -> None:
    """Write a note on whatever connection it is."""
    match type(conn).__module__.partition(".")[0]:
        case "asyncpg":
            await conn.execute("INSERT INTO public.entries VALUES ($1)", note)
        case "psycopg":
            await conn.execute("INSERT INTO public.entries VALUES (%s)", [note])
        case _:
            await conn.execute(text("INSERT INTO public.entries VALUES (:note)"), {"note": note})


in_child = Pipeline("shop")


@in_child.job(executor="process")
def pay(ctx: JobContext) -> None:
    ctx.transaction()


class Entries:
    """The application's own table, as others see it."""

    def __init__(self, admin: psycopg.Connection[Any]) -> None:
        self._admin = admin

    @property
    def notes(self) -> list[str]:
        found = self._admin.execute("SELECT note FROM public.entries ORDER BY note")
        return [note for (note,) in found]

    def written_by(self, note: str) -> str:
        [(transaction,)] = self._admin.execute(WRITTEN_BY, [note])
        return str(transaction)

    def settled_by(self, name: str) -> set[str]:
        [transactions] = self._admin.execute(SETTLED_BY, [name])
        return set(transactions)

    def were_settled_with(self, name: str, note: str) -> bool:
        return self.settled_by(name) == {self.written_by(note)}


@pytest.fixture
def entries(admin: psycopg.Connection[Any]) -> Iterator[Entries]:
    admin.execute("CREATE TABLE public.entries (note text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield Entries(admin)
    admin.execute("DROP TABLE public.entries")


async def error_of(handle: JobHandle[object]) -> str:
    """Return what a job that has ended failed with."""
    with pytest.raises(JobFailedError) as caught:
        await handle.result(timeout=10)
    return str(caught.value)


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
        await asyncio.wait_for(task, 10)

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

        assert await handle.result(timeout=10) == "done"
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
            await handle.result(timeout=10)

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
            assert await handle.result(timeout=10) == "reported"
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

        await handle.result(timeout=10)
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

        await handle.result(timeout=10)
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

        assert await handle.result(timeout=10) == "caught"
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
                await handle.result(timeout=10)

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

        await handle.result(timeout=10)
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

        await handle.result(timeout=10)
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
            assert await handle.result(timeout=10) == "by attempt 2"

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
            await handle.result(timeout=15)

        assert entries.notes == ["start 2"]
        assert starts == [1, 1]


@on_postgres
class TestItsLimits:
    async def test_one_that_idles_for_long_is_ended_by_the_server_which_the_error_says(
        self, app_of: AppOf, entries: Entries, admin: psycopg.Connection[Any]
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=1)
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "undone")
                pid = await conn.fetchval("SELECT pg_backend_pid()")
            await eventually(lambda: (pid,) not in list(admin.execute(PIDS)))

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        lease = timedelta(seconds=1.5)
        await app.worker(WorkerOptions({"default": 1}, lease=lease, drain=True)).run()

        assert "nothing is asked for 1 s: open it late" in await error_of(handle)
        assert entries.notes == []

    async def test_so_many_are_open_at_once_and_others_wait_while_work_goes_on(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        inside: set[int] = set()
        may_return = asyncio.Event()

        @shop.job
        async def pay(ctx: JobContext, number: int) -> None:
            driver: DriverName = "asyncpg" if number % 2 else "psycopg"
            async with ctx.transaction(driver) as conn:
                await write(conn, f"{number:02}")
                inside.add(number)
                await may_return.wait()

        @shop.job
        async def other() -> None: ...

        app = await app_of(shop)
        async with working(app):
            handles = await app.enqueue_many([pay.with_(number) for number in range(MOST_OPEN + 3)])
            await eventually(lambda: len(inside) == MOST_OPEN)
            await (await app.enqueue(other.with_())).result(timeout=10)
            assert len(inside) == MOST_OPEN
            may_return.set()
            for handle in handles:
                await handle.result(timeout=10)

        assert entries.notes == [f"{number:02}" for number in range(MOST_OPEN + 3)]

    async def test_what_a_session_was_told_is_not_told_to_the_next_one(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        found = []

        @shop.job
        async def pay(ctx: JobContext, driver: DriverName) -> None:
            async with ctx.transaction(driver) as conn:
                await conn.execute("SET work_mem = '123MB'")

        @shop.job
        async def look(ctx: JobContext, driver: DriverName) -> None:
            async with ctx.transaction(driver) as conn:
                if driver == "asyncpg":
                    found.append(await conn.fetchval("SHOW work_mem"))
                else:
                    found.extend(await (await conn.execute("SHOW work_mem")).fetchone())

        app = await app_of(shop)
        for driver in ("asyncpg", "psycopg"):
            await app.enqueue(pay.with_(driver))
            await drain(app)
            await app.enqueue(look.with_(driver))
            await drain(app)

        assert len(found) == 2
        assert "123MB" not in found

    @with_every_driver
    async def test_it_is_read_committed_whatever_the_databases_default(
        self, app_of: AppOf, entries: Entries, stage: PostgresStage, driver: DriverName
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def level(ctx: JobContext) -> str:
            async with ctx.transaction(driver) as conn:
                [row] = await fetch(
                    conn, "SELECT current_setting('transaction_isolation') AS level"
                )
            return str(row["level"])

        options = "-c default_transaction_isolation=serializable"
        app = await app_of(shop, dsn=make_conninfo(stage.dsn, options=options))
        handle = await app.enqueue(level.with_())
        await drain(app)

        assert await handle.result(timeout=10) == "read committed"

    async def test_a_connection_that_was_kept_is_of_no_use_afterwards(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        kept = []

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                kept.append(conn)

        app = await app_of(shop)
        await app.enqueue(pay.with_())
        await drain(app)

        with pytest.raises(Exception, match="released back to the pool"):
            await write(kept[0], "stray")
        assert entries.notes == []

    async def test_connections_that_were_lost_in_between_are_replaced(
        self, app_of: AppOf, entries: Entries, admin: psycopg.Connection[Any]
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=1)
        async def pay(ctx: JobContext, driver: DriverName, note: str) -> None:
            async with ctx.transaction(driver) as conn:
                await write(conn, note)

        app = await app_of(shop)
        for queue in ("first", "second"):
            for driver in ("asyncpg", "psycopg", "sqlalchemy"):
                await app.enqueue(pay.with_(driver, f"{queue} on {driver}"), queue=queue)
        await drain(app, first=3)
        admin.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({PIDS}) others")
        await drain(app, second=3)

        assert len(entries.notes) == 6


PIDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@on_postgres
class TestMisuse:
    async def fails_with(self, app_of: AppOf, shop: Pipeline) -> str:
        app = await app_of(shop)
        handle = await app.enqueue(app.definitions.jobs["shop.pay"].with_())
        await drain(app)
        assert len(await handle.failed_attempts()) == 1
        return await error_of(handle)

    async def test_a_second_one_is_refused_and_takes_the_first_back(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "undone")
            ctx.transaction()

        assert "there is one per attempt; write everything" in await self.fails_with(app_of, shop)
        assert entries.notes == []

    async def test_a_thread_is_refused(self, app_of: AppOf, entries: Entries) -> None:
        shop = Pipeline("shop")

        @shop.job
        def pay(ctx: JobContext) -> None:
            ctx.transaction()

        assert "write the function as `async def`" in await self.fails_with(app_of, shop)

    async def test_a_child_process_is_refused(self, app_of: AppOf, entries: Entries) -> None:
        assert "do not reach a child process" in await self.fails_with(app_of, in_child)

    async def test_a_loop_of_the_threads_own_is_refused(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        def pay(ctx: JobContext) -> None:
            async def inside() -> None:
                ctx.transaction()

            asyncio.run(inside())

        assert "write the function as `async def`" in await self.fails_with(app_of, shop)

    async def test_a_driver_that_nobody_knows_is_refused(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction("aiopg"):  # type: ignore[arg-type]  # the mistake
                pass

        assert "no driver 'aiopg'; write driver=" in await self.fails_with(app_of, shop)

    @with_every_driver
    async def test_ending_it_oneself_is_refused(
        self, app_of: AppOf, entries: Entries, driver: DriverName
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=1)
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction(driver) as conn:
                if driver == "asyncpg":
                    await conn.execute("COMMIT")
                    await conn.execute("BEGIN")
                else:
                    await conn.commit()
                await write(conn, "undone")

        said = await self.fails_with(app_of, shop)
        assert "ended the transaction itself" in said or "Explicit commit() forbidden" in said
        assert entries.notes == []

    async def test_a_failed_statement_cannot_be_passed_over(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(retry=1)
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction() as conn:
                await write(conn, "undone")
                with pytest.raises(Exception, match="nowhere"):
                    await conn.execute("SELECT * FROM nowhere")

        assert "put what may fail into a savepoint" in await self.fails_with(app_of, shop)
        assert entries.notes == []

    async def test_a_block_that_is_still_open_cannot_be_settled(
        self, app_of: AppOf, entries: Entries
    ) -> None:
        shop = Pipeline("shop")
        tasks = []

        @shop.job
        async def pay(ctx: JobContext) -> None:
            has_written, goes_on = asyncio.Event(), asyncio.Event()

            async def aside() -> None:
                async with ctx.transaction() as conn:
                    await write(conn, "undone")
                    has_written.set()
                    await goes_on.wait()

            tasks.append(asyncio.create_task(aside()))
            await has_written.wait()

        said = await self.fails_with(app_of, shop)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert "returned while the block was still open" in said
        assert entries.notes == []


@in_memory
class TestInMemory:
    async def test_it_is_refused_and_the_error_says_what_to_do(self, app_of: AppOf) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def pay(ctx: JobContext) -> None:
            async with ctx.transaction():
                pass

        app = await app_of(shop)
        handle = await app.enqueue(pay.with_())
        await drain(app)

        said = await error_of(handle)
        assert "needs a database" in said
        assert "FlowStone(..., dsn=" in said
        assert len(await handle.failed_attempts()) == 1


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
