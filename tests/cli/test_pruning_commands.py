"""``flowstone db prune`` and ``size`` say what is kept, and delete what is not."""

from pathlib import Path

import psycopg
import pytest

from tests.cli.invocation import flowstone

A_YEAR_PASSES = """
UPDATE flowstone.flowstone_runs
    SET created_at = created_at - interval '1 year', finished_at = finished_at - interval '1 year';
UPDATE flowstone.flowstone_materializations SET finished_at = finished_at - interval '1 year'
"""


@pytest.fixture
def a_year_ago(durable: Path, dsn: str) -> Path:
    """The project, with two runs of ``report`` that ended a year ago."""
    for _ in range(2):
        assert flowstone("run", "report", "--force").exit_code == 0
    with psycopg.connect(dsn) as connection:
        for statement in A_YEAR_PASSES.split(";"):
            connection.execute(statement.encode())
    return durable


class TestPruning:
    def test_deletes_by_the_application_s_policy(self, a_year_ago: Path) -> None:
        ended = flowstone("db", "prune")
        again = flowstone("db", "prune", "-o", "json")

        assert ended.exit_code == 0
        assert ended.stdout == "deleted 2 runs, 1 materializations, 1 values, 0 jobs, 0 items\n"
        assert again.document == {
            "schema_version": 1,
            "runs": 0,
            "materializations": 0,
            "values": 0,
            "jobs": 0,
            "items": 0,
            "dry_run": False,
        }
        assert flowstone("asset", "value", "report").exit_code == 0

    def test_says_what_would_go(self, a_year_ago: Path) -> None:
        told = flowstone("db", "prune", "--dry-run")
        document = flowstone("db", "prune", "--dry-run", "-o", "json").document

        assert told.stdout == "would delete 2 runs (2 succeeded), 0 jobs and 0 items\n"
        assert document["runs"] == document["succeeded"] == 2
        assert document["dry_run"] is True
        assert len(flowstone("runs", "ls", "-o", "json").document["items"]) == 2

    def test_takes_another_age(self, a_year_ago: Path) -> None:
        told = flowstone("db", "prune", "--older-than", "400d", "--dry-run")

        assert told.stdout == "would delete 0 runs, 0 jobs and 0 items\n"
        assert flowstone("db", "prune", "--older-than", "300d").stdout.startswith("deleted 2 runs")

    def test_asks_whose_policy_counts(
        self, a_year_ago: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("FLOWSTONE_APP")

        refused = flowstone("db", "prune")
        told = flowstone("db", "prune", "--older-than", "7d")

        assert refused.exit_code == 2
        assert "--app" in refused.stderr
        assert told.stdout.startswith("deleted 2 runs")

    def test_deletes_nothing_where_everything_is_kept(self, a_year_ago: Path) -> None:
        module = a_year_ago / "shop.py"
        module.write_text(
            module.read_text(encoding="utf-8") + "\napp = FlowStone([sales], retention=None)\n",
            encoding="utf-8",
        )

        assert flowstone("db", "prune").stdout == (
            "this application keeps everything (retention=None)\n"
        )
        assert len(flowstone("runs", "ls", "-o", "json").document["items"]) == 2

    def test_refuses_an_age_that_keeps_nothing(self, reading: Path) -> None:
        ended = flowstone("db", "prune", "--older-than", "5m")

        assert ended.exit_code == 2
        assert "an hour is the least" in ended.stderr


class TestSize:
    def test_is_a_table_with_what_bounds_each(self, reading: Path) -> None:
        ended = flowstone("db", "size")

        header, *lines = ended.stdout.splitlines()
        assert ended.exit_code == 0
        assert header.split("  ")[0] == "table"
        assert any(
            line.startswith("flowstone_runs ") and "retention (runs, failed)" in line
            for line in lines
        )

    def test_is_a_list_for_machines(self, a_year_ago: Path) -> None:
        items = flowstone("db", "size", "-o", "json").document["items"]

        (runs,) = [it for it in items if it["table"] == "flowstone_runs"]
        assert (runs["rows"], runs["rows_are_estimated"]) == (2, False)
        assert 0 < runs["index_bytes"] < runs["bytes"]
        assert [it["bytes"] for it in items] == sorted((it["bytes"] for it in items), reverse=True)
