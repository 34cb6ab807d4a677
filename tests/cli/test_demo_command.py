"""``flowstone demo`` with real processes: from nothing to an answer, and nothing left behind."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowstone.cli.demo import environment
from flowstone.cli.demo_ending import assets_statement, progress_statement
from flowstone.cli.demo_folder import DemoFolder, InUseError
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.schema import migrate
from flowstone.engine.select import select
from tests.cli.invocation import Ended, Process, flowstone, is_alive

pytestmark = pytest.mark.timeout(300)

NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent"
ASSETS = 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoFolder]:
    """A demo folder of the test's own, whose server is deleted at the end."""
    monkeypatch.setenv("FLOWSTONE_DEMO_FOLDER", str(tmp_path / "demo"))
    found = DemoFolder.open()
    yield found
    found.forget()


def is_running(folder: DemoFolder) -> bool:
    """Whether the folder's Postgres runs."""
    return (folder.server / "data" / "postmaster.pid").exists()


def demo(*arguments: object, **environment_: str) -> Ended:
    with Process("demo", *arguments, environment=environment_) as process:
        return process.ends()


def pasted_commands(stdout: str) -> str:
    _, _, ending = stdout.partition("\nLook further\n")
    return "\n".join(line.strip() for line in ending.splitlines() if line.startswith("    "))


class TestFromNothing:
    def test_ends_with_an_answer_that_a_second_run_reuses(self, folder: DemoFolder) -> None:
        # A DSN in the environment is that of somebody's work, where no demo belongs.
        first = demo(FLOWSTONE_DSN=NOWHERE)

        assert first.exit_code == 0, first.stderr
        assert (
            f"Postgres: creating an embedded server, kept for the next demo, at {folder.server}"
            in first.stderr
        )
        assert f"{ASSETS} values to compute" in first.stderr
        (worker,) = re.findall(r"Worker: flowstone worker .* \(process (\d+)\)", first.stderr)
        assert re.search(rf"{ASSETS}/{ASSETS}  environment.report .* ok +\d+\.\d\ds", first.stderr)
        assert "What takes the room" in first.stdout
        assert "FROM flowstone.run_progress\n  WHERE run_id = 1;\n" in first.stdout
        assert len(re.findall(r"environment\.\w+ +succeeded +1 +\d+ ", first.stdout)) == ASSETS
        assert folder.report.as_uri() in first.stdout
        page = folder.report.read_text(encoding="utf-8")
        assert page.count("<td>environment.") == ASSETS
        assert not is_alive(int(worker))
        assert not is_running(folder)

        second = demo()

        assert f"all {ASSETS} values are fresh and reused; no worker is needed" in second.stderr
        assert "Worker:" not in second.stderr
        reused = re.findall(r"environment\.\w+ +reused +materialized .* ago, code", second.stdout)
        assert len(reused) == ASSETS
        assert not is_running(folder)

        self.commands_can_be_pasted(first.stdout)

        third = demo()

        assert "2 values to compute, 8 fresh ones reused" in third.stderr
        assert re.search(r"environment\.licenses +succeeded +1 +\d+ +invalidated", third.stdout)

    def test_begins_anew_where_another_build_has_made_the_tables(self, folder: DemoFolder) -> None:
        with EmbeddedPostgres(folder.server) as server:
            migrate(server.dsn(), schema="left_over")
        (folder.path / "tables.sha256").write_text("of another build")

        with Process("demo") as process:
            process.says("the last demo's is of another build, and is deleted")
            process.says(f"{ASSETS} values to compute")
            process.signal(signal.SIGINT)
            process.ends()

        with EmbeddedPostgres(folder.server) as server:
            left = select(server.dsn(), "SELECT to_regnamespace('left_over') IS NULL").rows
        assert left == [(True,)]

    def commands_can_be_pasted(self, stdout: str) -> None:
        commands = pasted_commands(stdout)
        assert commands.startswith("cd ")
        assert "unset FLOWSTONE_DSN" in commands.splitlines()[0]

        ended = subprocess.run(
            ["bash", "-e"],
            input=f"{commands} <<< 'SELECT reused FROM run_progress WHERE run_id = 2'",
            env={**os.environ, "FLOWSTONE_DSN": NOWHERE},
            capture_output=True,
            text=True,
            check=False,
        )

        assert ended.returncode == 0, ended.stderr
        run, graph, value, *rest = re.split(r"\n(?=distributions\n|\{|2 inv)", ended.stdout)
        assert run.startswith("run 1  succeeded  10 ok")
        assert "└── report" in graph
        assert value.startswith('{"verdict":')
        assert rest[0].startswith("2 invalidated\n reused \n")


class TestInterrupted:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
    )
    def test_leaves_nothing_behind(
        self, folder: DemoFolder, number: signal.Signals, code: int
    ) -> None:
        with Process("demo") as process:
            (said,) = process.says(r"Worker: .*\(process (\d+)\)")
            process.says(r"1/10 ")
            process.signal(number)
            ended = process.ends()

        assert ended.exit_code == code
        assert not is_alive(int(said[1]))
        assert not is_running(folder)
        with EmbeddedPostgres(folder.server) as server:
            left = select(server.dsn(), "SELECT status FROM runs").rows
        assert left == [("cancelled",)]

    def test_while_postgres_starts_leaves_nothing_behind(self, folder: DemoFolder) -> None:
        with Process("demo") as process:
            process.says(r"Postgres: ")
            process.signal(signal.SIGINT)
            ended = process.ends()

        assert ended.exit_code == 130
        assert not is_running(folder)

    def test_a_worker_that_dies_is_told_with_what_it_said_last(self, folder: DemoFolder) -> None:
        with Process("demo") as process:
            (said,) = process.says(r"Worker: .*\(process (\d+)\)")
            process.says(r"1/10 ")
            os.kill(int(said[1]), signal.SIGKILL)
            ended = process.ends()

        assert ended.exit_code == 3
        assert "error: the worker was killed by SIGKILL before the run had ended" in ended.stderr
        assert f"worker {said[1]}: serves default" in ended.stderr
        assert not is_running(folder)


class TestOnADatabaseOfYourOwn:
    def test_keeps_apart_from_other_tables_and_computes_anew_when_asked(
        self, folder: DemoFolder, dsn: str
    ) -> None:
        first = demo("--dsn", dsn)
        second = demo("--dsn", dsn, "-o", "json")
        if shutil.which("psql") is not None:
            self.commands_can_be_pasted(first.stdout)
        page = folder.path / "mine.html"
        fresh = demo("--dsn", dsn, "--fresh", "--html", page, "-o", "json")

        assert (second.document["reused"], second.document["counts"]) == (ASSETS, {})
        assert fresh.document["status"] == "succeeded"
        assert fresh.document["verdict"] in ("intact", "damaged", "unmet")
        assert fresh.document["page"] == str(page)
        assert {it["status"] for it in fresh.document["assets"]} == {"succeeded"}
        assert fresh.document["counts"] == {"succeeded": ASSETS}
        assert select(dsn, "SELECT * FROM runs").rows == []
        statement = progress_statement("flowstone_demo", 1)
        assert select(dsn, statement).rows == [("succeeded", ASSETS, ASSETS, 0, 0, 0)]
        assert not folder.server.exists()

    def commands_can_be_pasted(self, stdout: str) -> None:
        commands = pasted_commands(stdout)

        ended = subprocess.run(
            ["bash", "-e"], input=commands, capture_output=True, text=True, check=False
        )

        assert ended.returncode == 0, ended.stderr
        assert "run 1  succeeded  10 ok" in ended.stdout
        assert "| succeeded |" in re.sub(" +", " ", ended.stdout)

    def test_a_run_that_fails_is_shown_in_sql_and_is_exit_code_1(
        self, folder: DemoFolder, dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "fingerprint", lambda: "00000000-00000000")

        ended = flowstone("demo", "--dsn", dsn)

        assert ended.exit_code == 1
        assert re.search(r"environment\.distributions +failed +1 ", ended.stdout)
        assert re.search(r"environment\.report +upstream_failed +", ended.stdout)
        assert "flowstone runs show 1 -v\n" in ended.stdout
        assert "asset value" not in ended.stdout
        assert "asked to examine environment 00000000-00000000" in ended.stderr
        assert ended.stderr.endswith("error: run 1 failed\n")
        assert not folder.report.exists()

    def test_a_database_that_does_not_answer_is_exit_code_3(self, folder: DemoFolder) -> None:
        assert flowstone("demo", "--dsn", NOWHERE).exit_code == 3


class TestFresh:
    def test_deletes_the_demo_s_server(self, folder: DemoFolder) -> None:
        with EmbeddedPostgres(folder.server):
            pass

        folder.forget()

        assert not folder.server.exists()

    def test_does_not_take_it_from_another_process(self, folder: DemoFolder) -> None:
        with EmbeddedPostgres(folder.server) as server:
            with pytest.raises(InUseError):
                folder.forget()

            assert select(server.dsn(), "SELECT 1").rows == [(1,)]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--html", "nowhere/page.html"], id="a page in a folder that is not there"),
        pytest.param(["--app", "shop:app"], id="another application"),
        pytest.param(["--psql", "--fresh"], id="psql and something else"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_starts(
    folder: DemoFolder, arguments: list[str]
) -> None:
    ended = flowstone("demo", *arguments)

    assert ended.exit_code == 2
    assert arguments[0] in ended.stderr
    assert not folder.server.exists()


@pytest.mark.parametrize("statement", [progress_statement, assets_statement])
def test_statements_are_made_for_any_name_of_a_schema(
    bare_dsn: str, statement: Callable[[str, int], str]
) -> None:
    schema = 'a"b; --'
    migrate(bare_dsn, schema)

    assert select(bare_dsn, statement(schema, 1)).rows == []
