"""A body that holds the event loop for a moment is named."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from flowstone import Pipeline
from tests.application.conftest import AppOf
from tests.application.stage import Heard, eventually


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowstone.core.loop_watch.TICK_SECONDS", 0.02)
    # Ten ticks: a machine that is busy elsewhere may well be silent for two of them.
    monkeypatch.setattr("flowstone.core.loop_watch.HELD_SECONDS", 0.2)


def hold_until(condition: Callable[[], bool]) -> None:
    """Hold the loop until then, but not for ever."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        pass


def is_watched() -> bool:
    return any(thread.name == "flowstone-loop-watch" for thread in threading.enumerate())


async def test_it_is_named_with_its_place_and_told_in_the_end(
    app_of: AppOf, caplog: pytest.LogCaptureFixture
) -> None:
    p = Pipeline("p")

    @p.asset
    async def holding() -> None:
        await eventually(is_watched)
        hold_until(lambda: "has held the event loop" in caplog.text)

    app = await app_of(p)
    heard = Heard(app, ["loop.held"])
    run = await app.enqueue(holding, partition="eu")
    await app.finish(run)
    await eventually(lambda: heard.names)

    assert f"p.holding[eu], run {run.run_id}, has held the event loop for" in caplog.text
    ((measured, facts),) = heard.of("loop.held")
    assert measured["duration"] >= 200
    assert (facts["asset"], facts["partition"], facts["run_id"]) == ("p.holding", "eu", run.run_id)
    assert "test_held_loop.py" in facts["where"]
    assert "in holding (in" in facts["where"]


async def test_a_task_that_a_body_has_made_is_not_laid_to_another(
    app_of: AppOf, caplog: pytest.LogCaptureFixture
) -> None:
    p = Pipeline("p")

    @p.asset
    async def innocent() -> None:
        await asyncio.create_task(made_by_it())

    async def made_by_it() -> None:
        await eventually(is_watched)
        hold_until(lambda: "has held the event loop" in caplog.text)

    app = await app_of(p)
    await app.run(innocent)

    assert "Something has held the event loop" in caplog.text
    assert "in made_by_it" in caplog.text


async def test_who_only_waits_holds_nothing(
    app_of: AppOf, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All that is silent here is the machine.
    monkeypatch.setattr("flowstone.core.loop_watch.HELD_SECONDS", 1.5)
    p = Pipeline("p")
    in_thread = threading.Event()

    @p.asset
    async def waiting() -> None:
        await eventually(is_watched)
        await eventually(in_thread.is_set)

    @p.asset
    def computing() -> None:
        hold_until(is_watched)
        until = time.monotonic() + 2.0
        hold_until(lambda: time.monotonic() > until)
        in_thread.set()

    app = await app_of(p)
    await app.run([waiting, computing])

    assert "has held the event loop" not in caplog.text
    await eventually(lambda: not is_watched())
