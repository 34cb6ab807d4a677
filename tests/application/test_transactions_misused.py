"""``ctx.transaction()``: what is refused, and what the error says to do instead."""

import asyncio

import pytest

from flowstone import JobContext, Pipeline
from tests.application.conftest import AppOf, in_memory, on_postgres
from tests.application.entries import DriverName, Entries, error_of, with_every_driver, write
from tests.application.stage import drain

in_child = Pipeline("shop")


@in_child.job(executor="process")
def pay(ctx: JobContext) -> None:
    ctx.transaction()


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
