"""``flowstone worker`` works until stopped, and ends as it is told to."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from flowstone.cli.settings import Settings
from flowstone.cli.worker_command import worker_command
from flowstone.cli.worker_processes import _command
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.dsn import with_database
from tests.cli.invocation import Process, eventually, flowstone, is_alive

ASSETS = ("report", "broken", "no_json", "stopped", "left_out")

STUCK = """\
import asyncio
import threading
from contextlib import suppress
from pathlib import Path

from flowstone import Pipeline

park = Pipeline("park")


@park.asset
def stuck() -> int:
    Path("began").touch()
    threading.Event().wait()
    return 1


@park.asset
async def stubborn() -> int:
    Path("began").touch()
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
"""


@contextmanager
def working_on_slow(project: Path, *arguments: object) -> Iterator[Process]:
    """A worker in the middle of the asset ``slow``, which ends once there is a file ``go``."""
    flowstone("enqueue", "slow")
    with Process("worker", *arguments) as worker:
        eventually((project / "began").exists, "the asset begins")
        yield worker


def rows(run_id: int) -> dict[str, str]:
    document = flowstone("runs", "show", run_id, "-o", "json").document
    return {it["asset"]: it["status"] for it in document["materializations"]}


class TestDraining:
    def test_ends_when_nothing_is_due_whatever_became_of_it(self, durable: Path) -> None:
        for asset in ASSETS:
            flowstone("enqueue", asset)

        ended = flowstone("worker", "--drain")

        assert (ended.exit_code, ended.stdout) == (0, "")
        assert {name: status for run in range(1, 6) for name, status in rows(run).items()} == {
            "sales.numbers": "succeeded",
            "sales.report": "succeeded",
            "other.broken": "failed",
            "other.no_json": "failed",
            "other.stopped": "cancelled",
            "other.left_out": "skipped",
        }

    def test_serves_every_queue_that_an_asset_names(self, durable: Path) -> None:
        ended = flowstone("worker", "--drain", "--concurrency", "3")

        assert "serves default (3 at once), slow (3 at once)" in ended.stderr

    @pytest.mark.parametrize(
        ("given", "served"),
        [
            (["-q", "etl:10,scatter:50"], "etl (10 at once), scatter (50 at once)"),
            (["-q", "etl", "-q", "a:b:7"], "etl (20 at once), a:b (7 at once)"),
            (["-q", "a:b", "--concurrency", "2"], "a:b (2 at once)"),
        ],
    )
    def test_serves_the_queues_that_are_given(
        self, reading: Path, given: list[str], served: str
    ) -> None:
        assert served in flowstone("worker", "--drain", *given).stderr

    def test_names_a_queue_that_may_be_misspelt(self, reading: Path) -> None:
        ended = flowstone("worker", "--drain", "-q", "slwo,default")

        assert "no asset or job names the queue 'slwo'; they name: default, slow" in ended.stderr
        assert ended.exit_code == 0

    def test_passes_over_a_job_that_is_none_of_ours(self, durable: Path, dsn: str) -> None:
        with psycopg.connect(dsn) as connection:
            for arguments in ({}, {"run_id": "x'; --", "asset": None}, [1, 2], "text"):
                connection.execute(
                    "INSERT INTO flowstone.procrastinate_jobs (queue_name, task_name, args) "
                    "VALUES ('default', 'flowstone:materialize', %s)",
                    [json.dumps(arguments)],
                )
        flowstone("enqueue", "report")

        ended = flowstone("worker", "--drain")

        assert ended.exit_code == 0
        assert rows(1) == {"sales.numbers": "succeeded", "sales.report": "succeeded"}
        with psycopg.connect(dsn) as connection:
            left = connection.execute(
                "SELECT count(*) FROM flowstone.procrastinate_jobs WHERE status <> 'failed' "
                "AND id NOT IN (SELECT materialization_id FROM flowstone.materializations)"
            ).fetchone()
        assert left == (0,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-q", ""], "must be a text"),
        (["-q", "etl,,mail"], "must be a text"),
        (["-q", "etl:0"], "give 1 to 10000 slots"),
        (["-q", "etl:99999"], "give 1 to 10000 slots"),
        (["-q", "q" * 41], "at most 40 bytes"),
        (["--concurrency", "0"], "--concurrency"),
        (["--processes", "0"], "--processes"),
        (["--max-jobs", "0"], "--max-jobs"),
        (["--max-memory", "much"], "no size; write such as 512MB"),
        (["--child-processes", "0"], "--child-processes"),
        (["--lease", "30s"], "expected 1s to 25s"),
        (["--lease", "soon"], "is not a duration"),
        (["--shutdown-timeout", "-1s"], "is not a duration"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    reading: Path, given: list[str], said: str
) -> None:
    ended = flowstone("worker", "--drain", *given)

    assert ended.exit_code == 2
    assert said in ended.stderr


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
    def test_waits_for_what_runs_and_exits_with_0(
        self, durable: Path, number: signal.Signals
    ) -> None:
        with working_on_slow(durable) as worker:
            worker.signal(number)
            worker.says("stopping: no more work is taken")
            flowstone("enqueue", "report")
            (durable / "go").touch()
            ended = worker.ends()

        assert ended.exit_code == 0
        assert rows(1) == {"other.slow": "succeeded"}
        assert rows(2) == {"sales.numbers": "ready", "sales.report": "pending"}

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
    )
    def test_twice_hands_back_at_once_what_runs(
        self, durable: Path, number: signal.Signals, code: int
    ) -> None:
        with working_on_slow(durable) as worker:
            worker.signal(number)
            worker.says("stopping")
            worker.signal(number)
            ended = worker.ends()

        assert ended.exit_code == code
        assert rows(1) == {"other.slow": "ready"}

    def test_hands_back_what_does_not_end_in_time(self, durable: Path) -> None:
        with working_on_slow(durable, "--shutdown-timeout", "50ms") as worker:
            worker.signal(signal.SIGTERM)
            ended = worker.ends()

        assert ended.exit_code == 0
        assert rows(1) == {"other.slow": "ready"}

    def test_does_not_wait_for_a_thread_that_cannot_be_stopped(self, durable: Path) -> None:
        (durable / "park.py").write_text(STUCK)
        flowstone("enqueue", "stuck", "--app", "park:park")

        with Process("worker", "--shutdown-timeout", "50ms", "--app", "park:park") as worker:
            eventually((durable / "began").exists, "the asset begins")
            worker.signal(signal.SIGTERM)
            ended = worker.ends()

        assert ended.exit_code == 0

    def test_does_not_wait_for_a_body_that_is_not_cancelled(self, durable: Path) -> None:
        (durable / "park.py").write_text(STUCK)
        flowstone("enqueue", "stubborn", "--app", "park:park")

        with Process("worker", "--shutdown-timeout", "50ms", "--app", "park:park") as worker:
            eventually((durable / "began").exists, "the asset begins")
            worker.signal(signal.SIGTERM)
            ended = worker.ends()

        assert ended.exit_code == 143
        assert re.search(r"Has not ended: .* > stubborn \(.*park.py:\d+\) > wait ", ended.stderr)


def test_a_database_that_drops_every_connection_does_not_end_the_worker(
    durable: Path, dsn: str, server_dsn: str
) -> None:
    with working_on_slow(durable) as worker:
        with psycopg.connect(with_database(server_dsn, "postgres"), autocommit=True) as admin:
            name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
        (durable / "go").touch()
        interrupted = flowstone("runs", "watch", 1, "--timeout", "120s")
        later = flowstone("enqueue", "report", "--wait", "--timeout", "120s")
        worker.signal(signal.SIGTERM)
        ended = worker.ends()

    assert (interrupted.exit_code, later.exit_code, ended.exit_code) == (0, 0, 0)


class TestSeveralProcesses:
    def test_are_started_with_what_was_said(self) -> None:
        options = WorkerOptions(
            {"etl": 2}, drain=True, child_processes=3, max_jobs=7, max_memory=2**30
        )

        _, _, program, name, *given = _command(Settings(), options, 20)
        read = worker_command.make_context(name, list(given)).params

        assert (program, name) == ("flowstone", "worker")
        assert (read["queues"], read["drain"]) == (("etl:2",), True)
        assert read["child_processes"] == 3
        assert (read["max_jobs"], read["max_memory"]) == (7, 2**30)

    def test_one_that_has_done_enough_is_followed_by_another(self, durable: Path) -> None:
        flowstone("enqueue", "sales")

        with Process("worker", "--processes", "2", "--max-jobs", "1") as worker:
            worker.says(r"worker (\d+): serves", times=3)
            assert flowstone("runs", "watch", 1, "--timeout", "120s").exit_code == 0
            worker.signal(signal.SIGTERM)
            ended = worker.ends()

        assert ended.exit_code == 0
        assert "starting another in" not in ended.stderr

    def test_share_the_work_and_one_that_dies_is_replaced(self, durable: Path) -> None:
        with Process("worker", "--processes", "2", "--lease", "1s") as worker:
            first, second = (int(it[1]) for it in worker.says(r"worker (\d+): serves", times=2))
            flowstone("enqueue", "slow")
            eventually((durable / "began").exists, "the asset begins")
            (durable / "began").unlink()
            for pid in (first, second):
                os.kill(pid, signal.SIGKILL)
            worker.says("ended with -9; starting another", times=2)
            eventually((durable / "began").exists, "the asset begins again elsewhere")
            (durable / "go").touch()
            assert flowstone("runs", "watch", 1, "--timeout", "120s").exit_code == 0
            worker.signal(signal.SIGTERM)
            ended = worker.ends()

        assert ended.exit_code == 0
        assert not is_alive(first)

    def test_one_that_is_stopped_alone_is_followed_by_another(
        self, durable: Path, dsn: str
    ) -> None:
        with (
            psycopg.connect(dsn, autocommit=True) as connection,
            Process("worker", "--processes", "2") as worker,
        ):
            (child, _) = (int(it[1]) for it in worker.says(r"worker (\d+): serves", times=2))
            count = "SELECT count(*) FROM flowstone.workers"
            eventually(lambda: connection.execute(count).fetchone() == (2,), "both are at work")
            os.kill(child, signal.SIGTERM)
            worker.says(r"worker (\d+): serves", times=3)
            worker.signal(signal.SIGTERM)
            ended = worker.ends()

        assert ended.exit_code == 0
        assert "starting another in" not in ended.stderr

    def test_drain_together(self, durable: Path) -> None:
        flowstone("enqueue", "sales")

        with Process("worker", "--processes", "2", "--drain") as worker:
            assert worker.ends().exit_code == 0
        assert rows(1) == {"sales.numbers": "succeeded", "sales.report": "succeeded"}

    def test_are_told_of_each_stop(self, durable: Path) -> None:
        with working_on_slow(durable, "--processes", "2") as worker:
            worker.says(r"worker (\d+): serves", times=2)
            worker.signal(signal.SIGINT)
            worker.says("stopping", times=2)
            worker.signal(signal.SIGINT)
            ended = worker.ends()

        assert ended.exit_code == 130
        assert rows(1) == {"other.slow": "ready"}

    def test_end_with_the_one_that_keeps_them(self, durable: Path) -> None:
        with Process("worker", "--processes", "2") as worker:
            children = [int(it[1]) for it in worker.says(r"worker (\d+): serves", times=2)]
            worker.signal(signal.SIGKILL)
            eventually(lambda: not any(map(is_alive, children)), "the children end")

    def test_of_an_application_that_breaks_meanwhile_end(self, durable: Path) -> None:
        with Process("worker", "--processes", "2") as worker:
            (child, _) = (int(it[1]) for it in worker.says(r"worker (\d+): serves", times=2))
            (durable / "shop.py").write_text("raise ValueError('broken by an edit')\n")
            os.kill(child, signal.SIGKILL)
            ended = worker.ends()

        assert ended.exit_code == 2
        assert "ValueError: broken by an edit" in ended.stderr

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc to look into")
    def test_keep_passwords_out_of_what_ps_shows(self, durable: Path, dsn: str) -> None:
        with Process("worker", "--processes", "2") as worker:
            child = int(worker.says(r"worker (\d+): serves")[0][1])

            shown = Path(f"/proc/{child}/cmdline").read_text()

        assert "--supervised" in shown
        assert dsn not in shown
