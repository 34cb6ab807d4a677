"""Whatever is wrong on the command line has its exit code and says what is wrong."""

from pathlib import Path

import psycopg
import pytest

from flowstone.cli import patience
from tests.cli.invocation import flowstone

COMMANDS = ("plan", "run", "enqueue")


@pytest.mark.parametrize("command", COMMANDS)
class TestARequest:
    def test_for_an_unknown_asset_suggests_one(self, reading: Path, command: str) -> None:
        ended = flowstone(command, "reprot")

        assert ended.exit_code == 2
        assert "asset 'reprot' does not exist. Did you mean 'sales.report'?" in ended.stderr

    @pytest.mark.parametrize(
        "text", ["2025-02-30", "d:garbage", "t:!!", "dt:2025-01-01", "s:%%", "a\x00b", "x" * 2000]
    )
    def test_for_a_partition_that_does_not_decode(
        self, reading: Path, command: str, text: str
    ) -> None:
        ended = flowstone(command, "report", "-p", text)

        assert ended.exit_code == 2
        assert "partition" in ended.stderr

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ("top=1", "there is no 'top', did you mean 'top_n'?"),
            ("top_n=many", "'top_n' must be int, not 'many'"),
            ("top_n", "expected field=value or @file.json"),
            ("@nowhere.json", "nowhere.json"),
            ("@list.json", "expected a JSON object"),
            ("@broken.json", "broken.json"),
        ],
    )
    def test_with_a_configuration_that_does_not_validate(
        self, reading: Path, command: str, config: str, said: str
    ) -> None:
        (reading / "list.json").write_text("[1]")
        (reading / "broken.json").write_text("{")

        ended = flowstone(command, "report", "--config", config)

        assert ended.exit_code == 2
        assert said in ended.stderr

    def test_with_a_configuration_for_an_asset_that_takes_none(
        self, reading: Path, command: str
    ) -> None:
        ended = flowstone(command, "numbers", "--config", "top_n=1")

        assert ended.exit_code == 2
        assert "takes no such configuration" in ended.stderr

    def test_for_an_io_manager_that_is_not_registered(self, reading: Path, command: str) -> None:
        ended = flowstone(command, "report", "--io", "lake")

        assert ended.exit_code == 2
        assert "no IO manager is registered as 'lake'" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", "tomorrow"], "'tomorrow' is no ISO 8601 time; write such as 2030-"),
        (["--at", "2025-01-15T08:00"], "has no time zone; write 2025-01-15T08:00:00Z"),
        (["--dedupe", ""], "must be a text of 1 to"),
        (["--dedupe", "x" * 2000], "must be a text of 1 to"),
        (["--queue", "q" * 41], "at most 40 bytes"),
        (["--queue", "a\nb"], "must be a text"),
        (["--priority", "high"], "not a valid integer"),
        (["--priority", str(2**31)], "must be a whole number"),
        (["--timeout", "1s"], "give both"),
        (["--wait", "--timeout", "soon"], "is not a duration"),
        (["--wait", "--timeout", "-1s"], "is not a duration"),
    ],
)
def test_an_option_of_enqueue_that_means_nothing(
    reading: Path, arguments: list[str], said: str
) -> None:
    ended = flowstone("enqueue", "report", *arguments)

    assert ended.exit_code == 2
    assert said in ended.stderr


def test_what_is_refused_leaves_nothing_behind(durable: Path) -> None:
    for arguments in (
        ["nothing"],
        ["report", "--config", "top=1"],
        ["report", "--at", "2025-01-01"],
    ):
        assert flowstone("enqueue", *arguments).exit_code == 2

    assert flowstone("runs", "ls", "-o", "json").document["items"] == []


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry"])
class TestARun:
    def test_that_does_not_exist(self, reading: Path, command: str) -> None:
        ended = flowstone("runs", command, 7)

        assert ended.exit_code == 2
        assert ended.stderr == "error: run 7 does not exist; it may have been pruned\n"

    @pytest.mark.parametrize("run", ["seven", "0", "-1", str(2**63)])
    def test_that_cannot_exist(self, reading: Path, command: str, run: str) -> None:
        assert flowstone("runs", command, "--", run).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "report"),
        ("run", "report"),
        ("enqueue", "report"),
        ("worker", "--drain"),
        ("worker", "--drain", "--processes", "2"),
        ("runs", "ls"),
        ("db", "migrate"),
        ("db", "status"),
        ("db", "triggers"),
    ],
    ids=" ".join,
)
class TestADatabase:
    def test_that_nobody_answers_for(
        self, project: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(patience, "START_SECONDS", 0.05)

        ended = flowstone(*arguments, "--dsn", "postgresql://me:secret@127.0.0.1:1/x")

        assert ended.exit_code == 3
        assert "error: the database cannot be reached" in ended.stderr
        assert "127.0.0.1" in ended.stderr
        assert "secret" not in ended.stderr

    def test_whose_dsn_is_none(self, project: Path, arguments: tuple[str, ...]) -> None:
        ended = flowstone(*arguments, "--dsn", "postgresql://me:se@cret@host:port/x")

        assert ended.exit_code == 2
        assert "error: dsn: " in ended.stderr
        assert "cret" not in ended.stderr

    def test_of_a_schema_that_cannot_be_one(
        self, project: Path, quiet_dsn: str, arguments: tuple[str, ...]
    ) -> None:
        ended = flowstone(*arguments, "--dsn", quiet_dsn, "--schema", "pg_mine")

        assert ended.exit_code == 2
        assert "Postgres keeps this name for itself" in ended.stderr


NEEDING_TABLES = [
    ("plan", "report"),
    ("run", "report"),
    ("enqueue", "report"),
    ("worker",),
    ("worker", "--processes", "2"),
    ("runs", "ls"),
]


def test_tables_that_are_not_there_are_named_with_the_command(project: Path, bare_dsn: str) -> None:
    for arguments in NEEDING_TABLES:
        ended = flowstone(*arguments, "--dsn", bare_dsn)

        assert ended.exit_code == 3
        assert "has no FlowStone tables; run: flowstone db migrate" in ended.stderr


def test_tables_that_are_newer_than_the_code_are_left_alone(project: Path, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE flowstone.alembic_version SET version_num = '9999_later'")

    for arguments in (*NEEDING_TABLES, ("db", "migrate"), ("db", "migrate", "--sql")):
        ended = flowstone(*arguments, "--dsn", dsn)

        assert ended.exit_code == 3
        assert "upgrade FlowStone" in ended.stderr


def test_triggers_that_are_half_switched_are_refused_with_the_command(
    project: Path, dsn: str
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "ALTER TABLE flowstone.procrastinate_jobs DISABLE TRIGGER flowstone_jobs_inserted"
        )

    for arguments in NEEDING_TABLES:
        ended = flowstone(*arguments, "--dsn", dsn)

        assert ended.exit_code == 3
        assert "flowstone db triggers batched" in ended.stderr


def test_a_database_of_another_kind_needs_a_plugin(project: Path) -> None:
    ended = flowstone("run", "report", "--dsn", "mysql://me:secret@host/x")

    assert ended.exit_code == 3
    assert "no plugin is registered as 'mysql'" in ended.stderr
    assert "secret" not in ended.stderr


NASTY = """it's "odd"; DROP TABLE x -- $1 %s"""


def test_sql_in_every_name_is_text(project: Path, bare_dsn: str) -> None:
    given = ("--dsn", bare_dsn, "--schema", NASTY)
    flowstone("db", "migrate", *given)

    enqueued = flowstone(
        *("enqueue", "report", "-p", NASTY, "--queue", NASTY, "--dedupe", NASTY, *given)
    )
    repeated = flowstone("enqueue", "report", "--dedupe", NASTY, *given)
    worked = flowstone("worker", "--drain", "-q", NASTY, *given)
    run = flowstone("runs", "show", 1, "-o", "json", *given).document

    assert [it.exit_code for it in (enqueued, repeated, worked)] == [0, 0, 0]
    assert enqueued.stdout == repeated.stdout == "1\n"
    assert run["status"] == "succeeded"
    assert run["targets"] == [{"asset": "sales.report", "partition": NASTY}]
    assert flowstone("doctor", *given).exit_code == 0
