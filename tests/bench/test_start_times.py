"""How long jobs take to start, seen by who enqueues them."""

import sys
import time
from pathlib import Path

import pytest

from bench import start_times
from bench.start_times import measure_starts, percentiles
from bench.trial import TrialError

WORKER = """
import pathlib, sys, time
box = pathlib.Path(sys.argv[sys.argv.index("--dsn") + 1])
print("welcome to a worker", flush=True)
done = 0
while True:
    if box.exists() and int(box.read_text() or 0) > done:
        {body}
        done += 1
    time.sleep(0.001)
"""
TELLS = 'print("started", done, time.time_ns(), flush=True)'


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Put a worker of our own in the place of a peer's; jobs are a number in a file."""
    program = tmp_path / "python"
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(body=getattr(request, "param", TELLS)))
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(start_times.sys, "executable", str(program))
    monkeypatch.setattr(start_times, "WARM_UP", 2)
    monkeypatch.setattr(start_times, "IDLE_SECONDS", (0.0, 0.0))
    return tmp_path / "box"


def commit(box: Path, number: int) -> int:
    at = time.time_ns()
    box.write_text(str(number + 1))
    return at


def test_the_median_and_the_hundredth_part_are_told() -> None:
    told = {it.metric: it.value for it in percentiles("start_ms", [*range(101)])}

    assert told == {"start_ms_p50": 50, "start_ms_p99": 99}


async def test_each_job_is_timed_from_its_commit_to_its_start(worker: Path) -> None:
    async def enqueue(number: int) -> int:
        return commit(worker, number)

    async def finished() -> int:
        return 5

    told = await measure_starts("a.worker", str(worker), 3, enqueue, finished)

    assert all(0 < it.value < 30_000 for it in told)


async def test_jobs_that_the_database_has_not_finished_are_no_figure(
    worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_times, "LOOKS", 1)

    async def enqueue(number: int) -> int:
        return commit(worker, number)

    async def finished() -> int:
        return 4

    with pytest.raises(TrialError, match="4 of 5 are finished"):
        await measure_starts("a.worker", str(worker), 3, enqueue, finished)


@pytest.mark.parametrize("worker", ["sys.exit(1)"], indirect=True)
async def test_a_worker_that_ends_is_no_figure(worker: Path) -> None:
    async def enqueue(number: int) -> int:
        return commit(worker, number)

    async def finished() -> int:
        return 0

    with pytest.raises(TrialError, match="the worker ended before job 0 started"):
        await measure_starts("a.worker", str(worker), 3, enqueue, finished)
