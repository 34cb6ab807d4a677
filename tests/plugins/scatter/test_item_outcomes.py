"""What a function may return for an item in place of a value, and what it may raise."""

import asyncio
import gc
import threading
from datetime import timedelta
from typing import Any

import pytest

from flowstone import Pipeline, Retry, RunFailedError, Skip, Snooze
from flowstone.plugins.scatter import Results, Scattered, scatter
from flowstone.plugins.scatter.body import Body
from flowstone.plugins.scatter.records import ItemOutcome
from tests.application.stage import Heard, Stage, working


async def test_a_snooze_is_no_attempt(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    p = Pipeline("p")
    calls = 0

    async def told(results: Results[int, str]) -> list[tuple[int, str]]:
        return [(it.attempts, it.value) async for it in results]

    @p.asset
    @scatter([1], gather=told, retry_strategy=Retry(2, base=0, jitter=False))
    async def each(number: int) -> str | Snooze:
        nonlocal calls
        calls += 1
        if calls < 3:
            return Snooze(0)
        if calls == 3:
            raise ValueError("once")
        return "done"

    gc.collect()  # what other tests have left
    caplog.clear()
    app = await stage.app(p)
    heard = Heard(app, ["scatter.instance_error", "scatter.instance_complete"])

    assert await app.run(each) == [(2, "done")]
    assert heard.names == ["scatter.instance_error", "scatter.instance_complete"]
    gc.collect()
    assert "never retrieved" not in caplog.text, "what ran an item has broken down"


async def test_an_item_that_is_skipped_completes_without_a_value(stage: Stage) -> None:
    p = Pipeline("p")

    async def values(results: Results[int, int]) -> list[int | None]:
        return [it.value async for it in results]

    @p.asset
    @scatter([1, 2], gather=values)
    async def each(number: int) -> int | Skip:
        return number if number == 2 else Skip()

    app = await stage.app(p)

    assert await app.run(each) == [None, 2]


async def test_a_backoff_that_raises_fails_its_item_alone(stage: Stage) -> None:
    p = Pipeline("p")

    async def errors(results: Results[int, int]) -> list[str]:
        return [it.error.type async for it in results.failed() if it.error is not None]

    def broken(attempt: int) -> float:
        return 1 / 0

    @p.asset
    @scatter(
        [1, 2],
        gather=errors,
        retry_strategy=Retry(3, backoff=broken),
        failure_mode="partial",
        failure_threshold=0.5,
    )
    async def each(number: int) -> int:
        if number == 1:
            raise ValueError("one")
        return number

    app = await stage.app(p)

    assert await asyncio.wait_for(app.run(each), 20) == ["ZeroDivisionError"]


async def test_an_items_time_begins_when_there_is_a_thread_for_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = Pipeline("p")
    is_late = threading.Event()
    timed_out = Body.timed_out

    def told(self: Body, *facts: Any) -> ItemOutcome:
        is_late.set()
        return timed_out(self, *facts)

    monkeypatch.setattr(Body, "timed_out", told)

    @p.asset
    @scatter(
        [1, 2],
        timeout=timedelta(milliseconds=50),
        max_attempts=1,
        failure_mode="partial",
        failure_threshold=0.5,
    )
    def each(number: int) -> int:
        if number == 1:
            assert is_late.wait(60)
        return number

    app = await stage.app(p)
    async with working(app, default=1):
        handle = await app.enqueue(each)

        assert await handle.result(timeout=60) == Scattered(2, 1, 1)


async def test_an_async_gather_is_told_to_iterate_as_one(stage: Stage) -> None:
    p = Pipeline("p")

    async def listed(results: Results[int, int]) -> list[int]:
        return [it.value for it in results]

    @p.asset
    @scatter([1], gather=listed)
    async def each(number: int) -> int:
        return number

    app = await stage.app(p)

    with pytest.raises(RunFailedError, match="async for it in results"):
        await app.run(each)
