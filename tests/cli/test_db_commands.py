"""``flowstone db`` creates, shows and switches what is in the database."""

from pathlib import Path

import psycopg
import pytest

from flowstone.engine.revisions import own_line
from tests.cli.invocation import flowstone

REVISIONS = own_line().revisions
HEAD = REVISIONS[-1]


class TestMigrating:
    def test_creates_the_tables_once(self, project: Path, bare_dsn: str) -> None:
        first = flowstone("db", "migrate", "--dsn", bare_dsn)
        again = flowstone("db", "migrate", "--dsn", bare_dsn)

        assert first.stdout == "".join(f"applied {it}\n" for it in REVISIONS)
        assert again.stdout == f"up to date at {HEAD}\n"
        assert flowstone("run", "report", "--dsn", bare_dsn).exit_code == 0

    def test_takes_the_schema_that_is_given(self, project: Path, bare_dsn: str) -> None:
        given = ("--dsn", bare_dsn, "--schema", "else where")

        assert flowstone("db", "migrate", *given, "-o", "json").document["schema"] == "else where"
        assert flowstone("run", "report", *given).exit_code == 0
        assert flowstone("run", "report", "--dsn", bare_dsn).exit_code == 3

    def test_prints_the_sql_instead_which_does_the_same_by_hand(
        self, project: Path, bare_dsn: str
    ) -> None:
        printed = flowstone("db", "migrate", "--sql", "--dsn", bare_dsn)
        before = flowstone("db", "status", "--dsn", bare_dsn)
        with psycopg.connect(bare_dsn, autocommit=True) as connection:
            connection.execute(printed.stdout.encode())
        after = flowstone("db", "status", "--dsn", bare_dsn)
        nothing = flowstone("db", "migrate", "--sql", "--dsn", bare_dsn)

        assert (before.exit_code, after.exit_code) == (3, 0)
        assert nothing.stdout == "-- nothing is pending\n"

    def test_needs_no_application(self, bare_dsn: str) -> None:
        assert flowstone("db", "migrate", FLOWSTONE_DSN=bare_dsn).exit_code == 0


class TestStatus:
    def test_says_what_to_do(self, project: Path, bare_dsn: str) -> None:
        ended = flowstone("db", "status", "--dsn", bare_dsn)

        assert ended.exit_code == 3
        assert ended.stdout == (
            f"schema 'flowstone' is at none, needed {HEAD}: "
            "there are no tables yet; run: flowstone db migrate\n"
        )

    def test_is_a_document_for_machines(self, reading: Path) -> None:
        ended = flowstone("db", "status", "-o", "json")

        assert ended.exit_code == 0
        assert ended.document == {
            "schema_version": 1,
            "schema": "flowstone",
            "state": "up_to_date",
            "revision": HEAD,
            "needed": HEAD,
            "plugins": [],
        }


class TestTriggers:
    def test_are_switched_and_back(self, durable: Path) -> None:
        said = [
            flowstone("db", "triggers", *kind).stdout
            for kind in ([], ["stock"], ["stock"], [], ["batched"], [])
        ]

        assert [it.strip() for it in said] == [
            *("batched", "stock", "stock", "stock", "batched", "batched")
        ]

    def test_that_are_mixed_are_an_error_and_can_be_mended(self, durable: Path, dsn: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "ALTER TABLE flowstone.procrastinate_jobs DISABLE TRIGGER flowstone_jobs_inserted"
            )

        mixed = flowstone("db", "triggers")
        mended = flowstone("db", "triggers", "batched")

        assert mixed.exit_code == 3
        assert mixed.stdout.startswith("mixed: ")
        assert (mended.exit_code, mended.stdout) == (0, "batched\n")

    @pytest.mark.parametrize("command", ["triggers", "triggers batched", "size"])
    def test_there_are_none_before_the_tables_are_there(self, reading: Path, command: str) -> None:
        ended = flowstone("db", *command.split(), "--schema", "nowhere")

        said = "error: schema 'nowhere' has no FlowStone tables; run: flowstone db migrate\n"
        assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "", said)
