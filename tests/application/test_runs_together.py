"""Several runs at the same time: within one another, side by side, and given up."""

import asyncio
from collections import Counter

import pytest

from flowstone import Context, Pipeline
from flowstone.core.errors import (
    RunCancelledError,
)
from tests.application.conftest import AppOf
from tests.application.stage import drain, eventually, newest_run, statuses, working
from tests.application.sums import sums


class TestAtTheSameTime:
    async def test_an_asset_may_run_another_and_leave_work_behind(self, app_of: AppOf) -> None:
        p, _ = sums()

        @p.asset
        async def nested() -> int:
            await app.enqueue("numbers", partition="left behind")
            return await app.run("total", partition="inner") + 1

        app = await app_of(p)

        assert await app.run(nested) == 31
        await drain(app)
        assert await app.exists("numbers", partition="left behind")

    async def test_ordinary_workers_may_help(self, app_of: AppOf) -> None:
        p, computed = Pipeline("p"), Counter[str]()
        for number in range(60):

            @p.asset(name=f"part_{number}")
            async def part(ctx: Context) -> None:
                computed[ctx.asset] += 1
                await asyncio.sleep(0)

        app, elsewhere = await app_of(p), await app_of(p)
        async with working(elsewhere):
            await app.run([asset.name for asset in p.assets])

        assert computed == {f"p.part_{number}": 1 for number in range(60)}

    async def test_runs_of_one_target_do_not_disturb_each_other(self, app_of: AppOf) -> None:
        p, _ = sums()
        app = await app_of(p)

        values = await asyncio.gather(*[app.run("total", partition="x") for _ in range(5)])

        assert values == [30] * 5
        assert await app.get("total", partition="x") == 30

    async def test_a_run_that_is_given_up_lets_go_of_its_work_at_once(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        began, stopped, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @p.asset
        async def slow() -> str:
            began.set()
            try:
                await may_end.wait()
            finally:
                stopped.set()
            return "done"

        app = await app_of(p)
        running = asyncio.create_task(app.run(slow))
        await asyncio.wait_for(began.wait(), 10)

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 10)

        assert stopped.is_set()
        record = await newest_run(app)
        if app.store.is_durable:
            assert await statuses(app, record.run_id) == {"slow": "ready"}
            may_end.set()
            assert await app.finish(app.handle(record.run_id)) == "done"
        else:  # no other process would ever take it up
            assert record.status == "cancelled"

    async def test_a_cancelled_run_raises_for_the_one_who_runs_it(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        began = asyncio.Event()

        @p.asset
        async def endless() -> None:
            began.set()
            await asyncio.Event().wait()

        app = await app_of(p)
        running = asyncio.create_task(app.run(endless))
        await asyncio.wait_for(began.wait(), 10)
        record = await eventually(lambda: newest_run(app))

        assert await app.handle(record.run_id).cancel() == 1

        with pytest.raises(RunCancelledError):
            await asyncio.wait_for(running, 10)
