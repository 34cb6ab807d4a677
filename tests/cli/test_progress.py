"""Progress is told once, whoever does the work, and drawn only on a terminal."""

import asyncio
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flowstone import FlowStone, Pipeline, Retry
from flowstone.cli import progress
from flowstone.cli.progress import Follower, following
from flowstone.cli.settings import Settings
from flowstone.core.errors import DatabaseUnreachableError
from flowstone.plugins.scatter import scatter
from tests.cli.invocation import ROOT


class Recorded:
    """A display that keeps what it is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.advances: list[tuple[int, int, list[str]]] = []
        self.remarks: list[str] = []
        self.is_closed = False

    def tell(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, done: int, total: int, running: Sequence[str]) -> None:
        self.advances.append((done, total, list(running)))

    def remark(self, line: str) -> None:
        self.remarks.append(line)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def pipeline() -> Pipeline:
    pipeline = Pipeline("p")

    @pipeline.asset
    async def first() -> int:
        return 1

    @pipeline.asset(after=[first], retry=Retry(2, base="1ms"))
    async def second() -> int:
        raise ValueError("not\nyet")

    return pipeline


async def test_each_end_is_told_once_however_often_one_looks(pipeline: Pipeline) -> None:
    shown = Recorded()
    async with FlowStone([pipeline]) as app:
        await app.run("first", partition="2025")
        handle = await app.enqueue("second", partition="2025")
        follower = Follower(app.store, handle.run_id, shown)
        await follower.look()
        with pytest.raises(Exception, match="failed"):
            await app.finish(handle)
        await follower.look()
        await follower.look()

    assert [re.sub(r"\d+\.\d+s", "0.0s", line) for line in shown.lines] == [
        " 1/2  p.first   2025  reused",
        " 2/2  p.second  2025  FAILED     0.0s  attempt 2",
        "      ValueError: not …",
    ]
    assert shown.advances == [(1, 2, []), (2, 2, []), (2, 2, [])]


async def test_an_attempt_that_failed_is_told_while_the_next_is_to_come(pipeline: Pipeline) -> None:
    shown = Recorded()
    second = pipeline.assets[1]
    object.__setattr__(second.options, "retry", Retry(2, base="1h"))
    async with FlowStone([pipeline]) as app:
        handle = await app.enqueue(second)
        working = asyncio.create_task(app.finish(handle))
        follower = Follower(app.store, handle.run_id, shown)
        while not any("attempt 1 failed" in line for line in shown.lines):
            await follower.look()
            await asyncio.sleep(0.001)
        await follower.look()
        await handle.cancel()
        with pytest.raises(Exception, match="cancelled"):
            await working

    assert [line for line in shown.lines if "failed" in line] == [
        "      p.second  attempt 1 failed"
    ]


async def test_what_plugins_say_of_what_waits_is_told_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "REMARK_SECONDS", 0.0)
    pipeline = Pipeline("p")
    shown, let_go = Recorded(), asyncio.Event()

    @pipeline.asset
    @scatter([1, 2, 3, 4])
    async def each(number: int) -> None:
        if number > 1:
            await let_go.wait()

    async with FlowStone([pipeline]) as app:
        handle = await app.enqueue(each)
        working = asyncio.create_task(app.finish(handle))
        follower = Follower(app.store, handle.run_id, shown, remarks=app.remarks)
        while not any("1/4 25%" in line for line in shown.remarks):
            await follower.look()
            await asyncio.sleep(0.001)
        let_go.set()
        await working

    assert any("p.each 1/4 25%" in it for _, _, running in shown.advances for it in running)


async def test_a_run_that_nobody_begins_is_told_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "NO_WORKER_SECONDS", -1.0)
    shown = Recorded()
    async with FlowStone([pipeline]) as app:
        handle = await app.enqueue("first")
        follower = Follower(app.store, handle.run_id, shown, by_workers=True)
        await follower.look()
        await follower.look()

    assert shown.lines == ["nothing has started yet; is a worker running? flowstone worker"]


async def test_a_database_that_is_away_does_not_end_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FlowStone([pipeline]) as app:
        handle = await app.enqueue("first")
        reading = app.store.progress
        failures, was_read = iter([True, True]), asyncio.Event()

        async def sometimes(run_id: int, *, since: str | None) -> object:
            if next(failures, False):
                raise DatabaseUnreachableError
            was_read.set()
            return await reading(run_id, since=since)

        monkeypatch.setattr(app.store, "progress", sometimes)
        async with following(Settings(), app.store, handle.run_id):
            await app.finish(handle)
            await asyncio.wait_for(was_read.wait(), 10)

    assert " 1/1  p.first  ok " in capsys.readouterr().err


async def test_quietly_nothing_is_told(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FlowStone([pipeline]) as app:
        handle = await app.enqueue("first")
        async with following(Settings(quiet=True), app.store, handle.run_id):
            await app.finish(handle)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("color", [True, False], ids=["color", "no color"])
def test_a_bar_is_drawn_on_a_terminal_and_removed_at_the_end(project: Path, color: bool) -> None:
    drawn = on_a_terminal(*("run", "report", "--memory"), *([] if color else ["--no-color"]))

    assert "1/2  sales.numbers  ok" in drawn
    assert "run 1 succeeded" in drawn
    assert "2/2" in drawn
    assert "\x1b[2K" in drawn  # the bar's line is erased
    assert ("\x1b[3" in drawn.replace("\x1b[?25", "")) is color


def on_a_terminal(*arguments: str) -> str:
    """Return what a command writes to a terminal on its stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "flowstone", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 65536):
                written += part
        except OSError:
            pass  # how Linux tells that the other end is closed
        os.close(ours)
        assert process.wait(120) == 0
    return written.decode()
