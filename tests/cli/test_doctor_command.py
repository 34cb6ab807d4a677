"""``flowstone doctor`` finds what is wrong, and says what mends it."""

import importlib.metadata
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cli.invocation import Process, eventually, flowstone


def findings(*arguments: object) -> dict[str, Any]:
    ended = flowstone("doctor", *arguments, "-o", "json")
    return {
        **{it["check"]: it for it in ended.document["items"]},
        "exit_code": ended.exit_code,
    }


def test_where_all_is_well_it_says_so(reading: Path) -> None:
    ended = flowstone("doctor")

    assert ended.exit_code == 0
    lines = {
        line.split()[1]: line.split()[0] for line in ended.stdout.splitlines() if line[0] != " "
    }
    assert lines == {
        **dict.fromkeys(["Python", "FlowStone", "packages", "embedded", "application"], "ok"),
        **dict.fromkeys(["database", "server", "tables", "procrastinate", "triggers"], "ok"),
        "workers": "warn",
    }
    assert "→ flowstone worker" in ended.stdout


def test_a_worker_is_shown_with_its_queues_and_its_last_beat(durable: Path) -> None:
    with Process("worker", "-q", "etl,slow:3") as worker:
        worker.says("serves etl")
        flowstone("enqueue", "slow")
        eventually((durable / "began").exists, "the asset begins")
        found = findings()
        (durable / "go").touch()

    (worker_,) = [it for check, it in found.items() if check.startswith("worker ")]
    assert worker_["level"] == "ok"
    assert f":{worker.popen.pid} serves etl, slow, runs 1, beat " in worker_["message"]
    assert found["queue slow"]["message"] == "0 due, 0 later, 1 running"


def test_a_worker_that_is_silent_is_a_warning(durable: Path, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "SELECT flowstone.flowstone_register_worker_v1('host', 7, '{default}', 15000);"
            "UPDATE flowstone.flowstone_workers SET heartbeat_at = now() - interval '1 hour'"
        )

    (worker,) = [it for check, it in findings().items() if check.startswith("worker ")]

    assert worker["level"] == "warn"
    silent = re.fullmatch(
        r"dead\? host:7 serves default, runs 0, beat (\d+)s ago", worker["message"]
    )
    assert silent
    assert int(silent[1]) >= 3600


def test_a_resource_that_cannot_be_set_up_fails(durable: Path) -> None:
    source = """
from flowstone import FlowStone
from flowstone.core.contracts.resource import Resource

class Line(Resource):
    async def setup(self, config):
        raise ValueError("no such host")

app = FlowStone([], resources={str: Line()})
"""
    (durable / "with_resource.py").write_text(source)

    found = findings("--app", "with_resource:app")

    assert found["exit_code"] == 3
    assert found["resource str"]["message"] == "ValueError: no such host"


def test_an_installed_plugin_that_cannot_be_loaded_is_a_warning(
    durable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint("torn", "no_such_module:plugin", "flowstone.plugins")]
    real = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [*real(group=group), *points]
    )

    found = findings()

    assert found["exit_code"] == 0
    assert (found["plugin"]["level"], "no_such_module" in found["plugin"]["message"]) == (
        "warn",
        True,
    )


def test_work_that_nobody_serves_is_a_warning_with_the_command(durable: Path) -> None:
    flowstone("enqueue", "report", "--queue", "a b")

    found = findings()["queue a b"]

    assert found["level"] == "warn"
    assert found["message"].startswith("1 due, 0 later, 0 running")
    assert found["mend"] == "flowstone worker -q 'a b'"


@pytest.mark.parametrize(
    ("statement", "check", "mend"),
    [
        ("DROP SCHEMA flowstone CASCADE", "tables", "flowstone db migrate"),
        (
            "UPDATE flowstone.alembic_version SET version_num = '9999_later'",
            "tables",
            "pip install --upgrade flowstone",
        ),
        (
            "ALTER TABLE flowstone.procrastinate_jobs DISABLE TRIGGER flowstone_jobs_updated",
            "triggers",
            "flowstone db triggers batched",
        ),
        ("ALTER TABLE flowstone.procrastinate_jobs ADD COLUMN x int", "procrastinate", None),
        (
            "DROP TRIGGER flowstone_job_moved ON flowstone.procrastinate_jobs",
            "interventions",
            "flowstone db triggers batched",
        ),
    ],
    ids=["absent", "ahead", "triggers", "procrastinate", "interventions"],
)
def test_a_database_that_does_not_fit_fails_with_what_mends_it(
    durable: Path, dsn: str, statement: str, check: str, mend: str | None
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())

    found = findings()

    assert found["exit_code"] == 3
    assert (found[check]["level"], found[check]["mend"]) == ("fail", mend)


def test_traces_of_a_worker_that_takes_every_queue_are_a_warning(durable: Path, dsn: str) -> None:
    flowstone("enqueue", "report")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            SET search_path TO flowstone;
            SELECT procrastinate_fetch_job_v2(NULL, NULL);
            SELECT procrastinate_finish_job_v1(id, 'failed', false) FROM procrastinate_jobs
            WHERE status = 'doing';
            SELECT flowstone_reconcile_v1(10)
            """
        )

    found = findings()["other workers"]

    assert found["level"] == "warn"
    assert "took 1 jobs of ours within the last hour" in found["message"]
    assert "--queues=" in found["mend"]


def test_a_run_whose_job_is_gone_is_a_warning_with_the_command_that_ends_it(
    durable: Path, dsn: str
) -> None:
    flowstone("enqueue", "report")
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("TRUNCATE flowstone.procrastinate_jobs CASCADE")

    found = findings()["runs"]
    assert (found["level"], found["mend"]) == ("warn", "flowstone runs cancel 1")
    flowstone(*found["mend"].split()[1:])

    assert "runs" not in findings()


def test_stock_triggers_are_right_but_slower(durable: Path) -> None:
    flowstone("db", "triggers", "stock")

    found = findings()

    assert found["exit_code"] == 0
    assert found["triggers"]["level"] == "warn"
    assert found["triggers"]["mend"] == "flowstone db triggers batched"


def test_a_database_that_nobody_answers_for_fails_without_its_password(project: Path) -> None:
    ended = flowstone("doctor", "--dsn", "postgresql://me:secret@127.0.0.1:1/x")

    assert ended.exit_code == 3
    assert "fail  database             postgresql://me@127.0.0.1:1/x: " in ended.stdout
    assert "secret" not in ended.stdout + ended.stderr


def test_an_application_that_cannot_be_imported_fails_and_the_rest_is_examined(
    reading: Path,
) -> None:
    found = findings("--app", "nowhere:app")

    assert found["exit_code"] == 3
    assert found["application"]["level"] == "fail"
    assert found["tables"]["level"] == "ok"
