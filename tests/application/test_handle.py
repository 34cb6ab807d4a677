"""A run as the one who asked for it sees it: waiting, results, cancelling, repeating."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from flowstone import Cancel, Context, Dep, Pipeline, RunFailedError
from flowstone.core.errors import (
    HandleTimeoutError,
    InvalidOptionError,
    RunCancelledError,
    RunNotFoundError,
)
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, eventually, statuses, woken, working


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def base() -> int:
        return 1

    @p.asset
    async def report(base: int = Dep(base)) -> int:
        return base + 1

    return p


class Endless:
    """An asset that runs until it is stopped, and a test that watches it."""

    def __init__(self) -> None:
        self.pipeline = Pipeline("p")
        self.began = asyncio.Event()
        self.ended: list[str] = []

        @self.pipeline.asset(retry=5)
        async def endless() -> None:
            self.began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ended.append("cancelled")
                raise

        @self.pipeline.asset
        async def after(endless: None = Dep(endless)) -> None:
            self.ended.append("after")


class TestWaiting:
    async def test_a_result_that_takes_too_long_is_given_up_and_the_run_goes_on(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report")

        with pytest.raises(HandleTimeoutError, match=r"has not ended after 0\.05s") as caught:
            await handle.result(timeout="50ms")

        assert (caught.value.run_id, caught.value.timeout) == (
            handle.run_id,
            timedelta(milliseconds=50),
        )
        await drain(app)
        assert await handle.result(timeout=60) == 2

    @pytest.mark.parametrize("timeout", [-1, "soon"])
    async def test_what_is_no_time_is_refused(self, app_of: AppOf, timeout: int | str) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report")

        with pytest.raises(InvalidOptionError, match="timeout"):
            await handle.wait(timeout)

    async def test_a_run_that_another_worker_finishes_wakes_who_waits(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowstone.core.until_ended.POLL_SECONDS", 3600.0)
        app, elsewhere = await app_of(pipeline()), await app_of(pipeline())
        handle = await app.enqueue("report")
        waiting = [asyncio.create_task(handle.result(60)) for _ in range(3)]

        async with working(elsewhere):
            assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [2] * 3

    async def test_it_can_be_taken_up_again_by_its_number(self, app_of: AppOf) -> None:
        app, elsewhere = await app_of(pipeline()), await app_of(pipeline())
        one = await app.enqueue("report")
        several = await app.enqueue_many(["base", "report"], partition="x")
        await drain(app)

        assert repr(one) == f"<run {one.run_id}>"
        assert await elsewhere.handle(one.run_id).result() == 2
        assert await elsewhere.handle(several.run_id).result() == [1, 2]

    async def test_a_run_that_does_not_exist_says_so(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = app.handle(10**9)

        for question in (handle.status, handle.wait, handle.result, handle.cancel):
            with pytest.raises(RunNotFoundError, match="run 1000000000 does not exist"):
                await question()
        with pytest.raises(RunNotFoundError):
            await app.retry(10**9)

    async def test_an_earlier_run_keeps_its_own_values(self, app_of: AppOf) -> None:
        p, values = Pipeline("p"), [1, 2]
        p.asset(name="it")(lambda: values.pop(0))
        app = await app_of(p)

        first, second = [await app.enqueue("it", force=True) for _ in range(2)]
        await drain(app, default=1)

        assert [await first.result(), await second.result()] == [1, 2]
        assert await app.get("it") == 2

    async def test_progress_can_be_counted(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report")
        before = await handle.status()

        await drain(app)

        after = await handle.status()
        assert {status.value: n for status, n in before.counts.items() if n} == {
            "ready": 1,
            "pending": 1,
        }
        assert {status.value: n for status, n in after.counts.items() if n} == {"succeeded": 2}
        assert [key.asset for key in after.targets] == ["p.report"]
        assert before.finished_at is None
        assert after.finished_at is not None
        assert after.finished_at >= after.created_at


class TestFailures:
    async def test_only_what_failed_first_hand_is_listed(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def bad() -> int:
            raise ValueError("first-hand")

        @p.asset
        async def worse() -> int:
            raise ValueError("too")

        @p.asset
        async def after(bad: int = Dep(bad), worse: int = Dep(worse)) -> None: ...

        app = await app_of(p)
        handle = await app.enqueue(after, partition="x")
        await drain(app)

        with pytest.raises(RunFailedError, match=r"p\.bad\[x\].*first-hand") as caught:
            await handle.result()
        assert sorted(failure.asset for failure in caught.value.failures) == ["p.bad", "p.worse"]
        assert caught.value.context["failed"] == ["p.bad", "p.worse"]


class TestCancelling:
    async def test_what_has_not_started_is_cancelled_at_once(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report")

        assert await handle.cancel() == 2

        assert await statuses(app, handle.run_id) == {"base": "cancelled", "report": "cancelled"}
        with pytest.raises(RunCancelledError):
            await handle.result(60)
        await drain(app)
        assert not await app.exists("base")

    async def test_doing_it_twice_does_no_harm(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report")
        await handle.cancel()

        assert await handle.cancel() == 0

    async def test_what_has_ended_stays_as_it_is(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report")
        await drain(app)

        assert await handle.cancel() == 0
        assert await handle.result() == 2

    async def test_what_is_timed_is_cancelled_too(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("report", at=datetime.now(UTC) + timedelta(hours=1))

        assert await handle.cancel() == 2

        await stage.advance("2h")
        await drain(app)
        assert not await app.exists("base")

    async def test_an_async_function_is_stopped_at_its_await(self, app_of: AppOf) -> None:
        scene = Endless()
        app = await app_of(scene.pipeline)
        elsewhere = await app_of(scene.pipeline)
        handle = await app.enqueue("after")
        async with woken(elsewhere):
            await asyncio.wait_for(scene.began.wait(), 10)

            assert await handle.cancel() == 2

            with pytest.raises(RunCancelledError):
                await handle.result(60)
        assert scene.ended == ["cancelled"]
        assert await statuses(app, handle.run_id) == {"endless": "cancelled", "after": "cancelled"}

    async def test_a_plain_function_is_told_and_its_result_thrown_away(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        began, heeded = threading.Event(), threading.Event()

        @p.asset
        def polite(ctx: Context) -> str:
            began.set()
            while not ctx.is_cancelled():
                heeded.wait(0.001)
            heeded.set()
            return "late"

        app = await app_of(p)
        handle = await app.enqueue(polite)
        async with woken(app):
            await eventually(began.is_set)

            assert await handle.cancel() == 1

            with pytest.raises(RunCancelledError):
                await handle.result(60)
            await eventually(heeded.is_set)
        assert not await app.exists(polite)

    async def test_a_function_that_fails_when_it_is_stopped_is_not_tried_again(
        self, app_of: AppOf
    ) -> None:
        p, began = Pipeline("p"), asyncio.Event()

        @p.asset(retry=5)
        async def clumsy() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("while cleaning up")

        app = await app_of(p)
        handle = await app.enqueue(clumsy)
        async with working(app):
            await asyncio.wait_for(began.wait(), 10)
            await handle.cancel()

            assert (await handle.wait(60)).status in ("cancelled", "failed")
        assert (await handle.status()).finished_at is not None

    async def test_one_run_is_cancelled_and_another_of_the_same_is_not(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        first, second = [await app.enqueue("report") for _ in range(2)]

        await first.cancel()
        await drain(app)

        assert (await first.status()).status == "cancelled"
        assert await second.result() == 2


class TestRepeating:
    async def test_what_failed_is_done_again_and_what_succeeded_is_reused(
        self, app_of: AppOf
    ) -> None:
        p, computed, broken = Pipeline("p"), [], [True]

        @p.asset
        async def base() -> int:
            computed.append("base")
            return 1

        @p.asset
        async def report(base: int = Dep(base)) -> int:
            computed.append("report")
            if broken:
                raise ValueError("broken")
            return base + 1

        app = await app_of(p)
        with pytest.raises(RunFailedError) as caught:
            await app.run(report, partition="x")
        broken.clear()

        handle = await app.retry(caught.value.run_id)
        await drain(app)

        assert await handle.result() == 2
        assert computed == ["base", "report", "report"]
        record = await handle.status()
        assert (record.retry_of, record.reused_count) == (caught.value.run_id, 1)

    async def test_all_partitions_and_options_are_asked_for_again(self, app_of: AppOf) -> None:
        p, seen = Pipeline("p"), []

        @p.asset
        async def gives_up(ctx: Context) -> Cancel:
            seen.append(ctx.partition)
            return Cancel()

        app = await app_of(p)
        handle = await app.enqueue_many([gives_up], over=["a", "b"], queue="etl", priority=7)
        await drain(app, etl=4)

        again = await app.retry(handle.run_id)
        await drain(app, etl=4)

        assert sorted(seen) == ["a", "a", "b", "b"]
        first, second = await handle.status(), await again.status()
        assert second.targets == first.targets
        assert second.options == first.options == '{"queue": "etl", "priority": 7}'
