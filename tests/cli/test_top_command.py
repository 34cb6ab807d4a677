"""``flowstone top``: one frame for tests and machines, and a live one on a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flowstone.cli.top_frame import frame_text
from flowstone.core.contracts.activity import (
    MOST_COUNTED,
    Activity,
    QueueActivity,
    RunningActivity,
    WorkerActivity,
)
from tests.cli.invocation import PATIENCE_SECONDS, ROOT, Process, eventually, flowstone

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
NOW = datetime(2025, 1, 15, 8, tzinfo=UTC)


def test_one_frame_has_queues_workers_what_runs_and_what_failed(durable: Path) -> None:
    flowstone("run", "broken")
    flowstone("enqueue", "report", "--queue", "far")
    flowstone("enqueue", "slow")
    flowstone("queue", "pause", "held")
    with Process("worker", "-q", "slow") as worker:
        worker.says("serves slow")
        eventually((durable / "began").exists, "the asset begins")
        ended = flowstone("top", "--once")
        document = flowstone("top", "-o", "json").document
        (durable / "go").touch()

    assert ended.exit_code == 0
    lines = [" ".join(it.split()) for it in ended.stdout.splitlines()]
    assert "1 worker 1 due 1 running" in lines[0]
    assert any(it.startswith("far 1 0 0 ") and "nobody serves it" in it for it in lines)
    assert "held 0 0 0 0.0 paused" in lines
    assert any(it.startswith("slow 0 0 1 ") for it in lines)
    assert any(" other.slow slow 1 " in it for it in lines)
    assert any("other.broken 1 " in it and "ValueError: negative total" in it for it in lines)
    [queue] = [it for it in document["queues"] if it["queue"] == "slow"]
    assert (queue["running"], queue["due"]) == (1, 0)
    assert [it["running"] for it in document["workers"]] == [1]
    assert document["running"][0]["name"] == "other.slow"
    assert document["running"][0]["seconds"] >= 0
    assert document["failures"][0]["error"]["type"] == "ValueError"


def test_an_idle_database_says_so_and_needs_no_application(
    reading: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWSTONE_APP")

    text = flowstone("top").stdout

    for told in (
        "no queue holds",
        "no worker runs: flowstone worker",
        "nothing runs",
        "nothing has",
    ):
        assert told in text


def test_what_there_is_no_room_for_is_counted() -> None:
    running = [
        RunningActivity(n, None, "shop.mail", "", "mail", 1, 1, NOW - timedelta(minutes=n))
        for n in range(5)
    ]
    queues = [QueueActivity(f"q{n}", MOST_COUNTED, 0, n, 0.25) for n in range(5)]

    text = frame_text(Activity(NOW, queues, [], running, []), room=2)

    assert "50000+ due  10 running  1.2/s" in text
    assert "queues (and 3 more)" in text
    assert "q1     10000+" in text
    assert "q2" not in text
    assert "running, the longest first (and 8 more)" in text


def test_what_has_ended_since_the_queues_were_counted_is_not_left_out() -> None:
    text = frame_text(Activity(NOW, [QueueActivity("mail", 0, 0, 1, 4.0)], [], [], []), room=2)

    assert "nothing runs\n" in text


def test_a_worker_that_does_not_beat_is_lost() -> None:
    lease = timedelta(seconds=15)
    workers = [
        WorkerActivity(n, "h", n, ["mail"], 0, NOW, NOW - timedelta(seconds=age), lease)
        for n, age in enumerate((14, 16))
    ]

    text = frame_text(Activity(NOW, [], workers, [], []), room=9)

    assert "14.0s       " in text
    assert "16.0s LOST" in text


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *arguments: str, rows: int = 40, columns: int = 100) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {
            it: text for it, text in os.environ.items() if it not in ("LINES", "COLUMNS")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowstone", *arguments],
            env={**environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.written = ""

    def shows(self, text: str, *, since: int = 0) -> int:
        """Wait until it has drawn a text, and return where it was up to then."""
        eventually(lambda: text in self._read()[since:], f"{text} is drawn")
        return len(self.written)

    def close(self) -> int:
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
            time.sleep(0.02)
        self.process.kill()
        code = self.process.wait()
        self._read()
        os.close(self._ours)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def _read(self) -> str:
        try:
            while part := os.read(self._ours, 65536):
                self.written += part.decode(errors="replace")
        except OSError:
            pass  # nothing more for now, or closed
        return self.written


def test_on_a_terminal_it_is_drawn_anew_until_it_is_interrupted(durable: Path) -> None:
    terminal = Terminal("top")
    try:
        terminal.shows("no queue holds anything")
        flowstone("enqueue", "report", "--queue", "far")
        terminal.shows("far")
    finally:
        code = terminal.close()

    assert code == 0
    assert terminal.written.startswith("\x1b[?1049h")  # the other screen
    assert "\x1b[?1049l" in terminal.written


def test_a_database_that_is_away_does_not_end_it(durable: Path, dsn: str, tmp_path: Path) -> None:
    given = conninfo_to_dict(dsn)
    host = str(given.get("host", ""))
    if not host.startswith("/"):
        pytest.skip("the server has no socket that could be hidden")
    socket = tmp_path / "socket"
    socket.symlink_to(host)
    terminal = Terminal("top", "--dsn", make_conninfo("", **{**given, "host": str(socket)}))
    try:
        terminal.shows("no queue holds anything")
        socket.unlink()
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(CUT)
        place = terminal.shows("the database is away; this was before")
        socket.symlink_to(host)
        flowstone("enqueue", "report", "--queue", "far")
        terminal.shows("far", since=place)
    finally:
        code = terminal.close()

    assert code == 0
