"""Attempts that take too long."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from time import perf_counter
from types import SimpleNamespace

import pytest

from flowstone import Context, Dep, FlowStone, Pipeline, RunFailedError
from flowstone.core import executor
from flowstone.core.contracts.io_manager import Address, Written
from flowstone.core.defaults.memory_io import MemoryIO
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, eventually, statuses, steps, working

BEGUN = "1000ms"
"""A time in which a thread has begun, and what waits for nothing ended, on a busy machine, too."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set at the latest when the test is over, so that no thread stays behind."""
    event = threading.Event()
    yield event
    event.set()


class TestAsync:
    @pytest.mark.conformance(116)
    async def test_it_is_cancelled_at_its_await_and_fails(self, app_of: AppOf) -> None:
        p, ends = Pipeline("p"), []

        @p.asset(timeout="50ms", retry=1)
        async def endless() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append("cancelled")

        @p.asset
        async def after(endless: None = Dep(endless)) -> None: ...

        app = await app_of(p)

        with pytest.raises(RunFailedError, match="Asset execution timed out after 50ms") as caught:
            await app.run(after)

        assert ends == ["cancelled"]
        (failure,) = caught.value.failures
        assert (failure.asset, failure.error["code"]) == ("p.endless", "timeout")

    async def test_it_is_tried_again_by_default(self, app_of: AppOf, stage: Stage) -> None:
        p, attempts = Pipeline("p", timeout=BEGUN), []

        @p.asset
        async def slow_at_first(ctx: Context) -> int:
            attempts.append(ctx.attempt)
            if ctx.attempt == 1:
                await asyncio.Event().wait()
            return ctx.attempt

        app = await app_of(p)
        handle = await app.enqueue(slow_at_first)
        await drain(app)
        (step,) = (await steps(app, handle.run_id)).values()
        assert step.status == "ready"
        assert json.loads(step.error or "")["code"] == "timeout"

        await stage.advance("1m")
        await drain(app)

        assert await handle.result() == 2
        assert attempts == [1, 2]

    async def test_an_own_timeout_error_is_not_ours(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset(timeout="1h", retry=1)
        async def impatient() -> None:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

        app = await app_of(p)

        with pytest.raises(RunFailedError) as caught:
            await app.run(impatient)

        (failure,) = caught.value.failures
        assert (failure.error["code"], failure.error["type"]) == ("execution_error", "TimeoutError")

    async def test_who_is_in_time_is_not_disturbed(self, app_of: AppOf) -> None:
        p = Pipeline("p", timeout="10s")
        p.asset(name="quick")(lambda: "done")
        app = await app_of(p)

        assert await app.run("quick") == "done"


class TestThreads:
    async def test_its_late_result_is_thrown_away(
        self, app_of: AppOf, release: threading.Event
    ) -> None:
        p = Pipeline("p")
        ended = threading.Event()

        @p.asset(timeout=BEGUN, retry=1)
        def slow() -> str:
            release.wait(60)
            ended.set()
            return "late"

        app = await app_of(p)

        with pytest.raises(RunFailedError, match=f"timed out after {BEGUN}") as caught:
            await app.run(slow)
        release.set()
        await eventually(ended.is_set)

        assert not await app.exists(slow)
        assert await statuses(app, caught.value.run_id) == {"slow": "failed"}

    async def test_it_is_told_to_stop(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        heeded = threading.Event()

        @p.asset(timeout=BEGUN, retry=1)
        def polite(ctx: Context) -> None:
            while not ctx.is_cancelled():
                pass
            heeded.set()

        app = await app_of(p)

        with pytest.raises(RunFailedError, match="timed out"):
            await app.run(polite)

        await eventually(heeded.is_set)

    async def test_it_keeps_its_slot_until_it_returns(
        self, app_of: AppOf, release: threading.Event
    ) -> None:
        p = Pipeline("p")

        @p.asset(timeout=BEGUN, retry=1, priority=1)
        def slow() -> None:
            release.wait(60)

        @p.asset
        async def next_in_line() -> bool:
            return release.is_set()

        @p.asset(queue="other")
        async def elsewhere() -> None: ...

        app = await app_of(p)
        first = await app.enqueue(slow)
        second = await app.enqueue(next_in_line)
        async with working(app, default=1, other=1):
            assert (await first.wait(60)).status == "failed"
            for _ in range(3):  # the worker goes through turns, with no slot for the next in line
                await (await app.enqueue(elsewhere, force=True)).wait(60)
            assert await statuses(app, second.run_id) == {"next_in_line": "ready"}

            release.set()

            assert await second.result(60) is True

    async def test_a_second_attempt_does_not_meet_the_first(
        self, app_of: AppOf, stage: Stage, release: threading.Event
    ) -> None:
        p = Pipeline("p")

        @p.asset(timeout=BEGUN)
        def slow_at_first(ctx: Context) -> int:
            if ctx.attempt == 1:
                release.wait(60)
            return ctx.attempt

        app = await app_of(p)
        handle = await app.enqueue(slow_at_first)
        async with working(app, default=2):
            await eventually(lambda: _is_retried(app, handle.run_id))
            await stage.advance("1m")

            assert await handle.result(60) == 2

            release.set()
        assert await app.get(slow_at_first) == 2


async def _is_retried(app: FlowStone, run_id: int) -> bool:
    (step,) = (await steps(app, run_id)).values()
    return step.status == "ready" and step.error is not None


class TestStoring:
    async def test_an_io_manager_that_hangs_is_within_the_time_too(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        class Stuck(MemoryIO):
            async def store(self, address: Address, value: object) -> Written:
                written = await super().store(address, value)
                if address.claim == 0:
                    await asyncio.Event().wait()
                return written

        p = Pipeline("p", io="share", timeout=BEGUN)

        @p.asset
        async def it() -> int:
            return 1

        app = await app_of(p, io={"share": Stuck()})
        handle = await app.enqueue("it")

        await drain(app)

        (step,) = (await steps(app, handle.run_id)).values()
        assert json.loads(step.error or "")["code"] == "timeout"
        await stage.advance("1m")
        await drain(app)
        assert await handle.result() == 1
        (swept,) = await app.sweep(grace=timedelta())
        assert (swept.found_count, swept.orphan_count) == (2, 1)


ABANDONED = """
import threading
from flowstone import FlowStone, Pipeline, RunFailedError, run_sync

p = Pipeline("p")

@p.asset(timeout="20ms", retry=1)
def deaf() -> None:
    threading.Event().wait()

try:
    run_sync(FlowStone(p), deaf)
except RunFailedError:
    print("it timed out")
"""


def test_a_thread_that_never_returns_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED], check=False, capture_output=True, text=True, timeout=60
    )

    assert (ended.returncode, ended.stdout) == (0, "it timed out\n")


async def test_what_has_run_for_a_month_is_settled(
    app_of: AppOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, days = Pipeline("p"), [0]
    clock = SimpleNamespace(perf_counter=lambda: perf_counter() + days[0] * 86_400)
    monkeypatch.setattr(executor, "time", clock)

    @p.job
    async def consume() -> int:
        days[0] += 30
        return 7

    app = await app_of(p)
    handle = await app.enqueue(consume.with_())
    async with working(app):
        assert await handle.result(timeout=60) == 7
