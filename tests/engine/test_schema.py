"""A database gets its tables in one step, in any schema, and says when they do not fit."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from procrastinate.schema import SchemaManager

from flowstone.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    InvalidOptionError,
    SchemaFingerprintError,
    SchemaVersionError,
)
from flowstone.engine import triggers
from flowstone.engine.dsn import with_database
from flowstone.engine.embedded_cluster import bin_folder
from flowstone.engine.revisions import SchemaState, own_line
from flowstone.engine.schema import (
    check,
    check_connection,
    migrate,
    pending_sql,
    status,
    transaction,
)
from flowstone.engine.statements import call, qualified, quoted, script, sql_root, truth

REVISIONS = own_line().revisions
HEAD = REVISIONS[-1]
NASTY = [
    "Flow Stone",
    'a"b',
    "x'; DROP TABLE runs; --",
    "%s %(a)s :b $1 $$",
    "back\\slash",
    "naïve-ü-☃",
    "new",
    "public",
    "a" * 40,
    '"; \n',
]


def dump(dsn: str, schema: str = "flowstone") -> str:
    """The schema as pg_dump writes it, without Alembic's own table."""
    text = subprocess.run(
        [
            *(bin_folder() / "pg_dump", dsn, "--schema-only", "--no-owner", "--no-privileges"),
            *(f"--schema={quoted(schema)}", f"--exclude-table={quoted(schema)}.alembic_version"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # Newer releases guard their dumps with a random word.
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", text)


def load_the_truth(dsn: str, schema: str) -> None:
    """What sql/README.md says a schema is made of, without any migration."""
    with psycopg.connect(dsn) as connection:
        connection.execute(f"CREATE SCHEMA {quoted(schema)}".encode())
    with transaction(dsn, schema) as connection:
        connection.execute(SchemaManager.get_schema().encode())
        files = ("procrastinate/triggers.sql", *truth("core"), "procrastinate/interventions.sql")
        for name in files:
            connection.execute(script(name).encode())


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {
            str(name)
            for (name,) in connection.execute(
                "SELECT schemaname || '.' || tablename FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        }


class TestMigrating:
    def test_an_empty_database_gets_everything(self, bare_dsn: str) -> None:
        assert status(bare_dsn).state is SchemaState.ABSENT

        assert migrate(bare_dsn) == list(REVISIONS)
        assert check(bare_dsn) == status(bare_dsn)
        assert status(bare_dsn).state is SchemaState.UP_TO_DATE
        assert status(bare_dsn).current == HEAD
        assert {"flowstone.procrastinate_jobs", "flowstone.flowstone_runs"} <= tables(bare_dsn)

    def test_doing_it_again_changes_nothing(self, dsn: str) -> None:
        before = dump(dsn)

        assert migrate(dsn) == []
        assert dump(dsn) == before

    def test_those_who_come_at_once_take_turns(self, bare_dsn: str) -> None:
        with ThreadPoolExecutor(4) as threads:
            applied = list(threads.map(lambda _: migrate(bare_dsn), range(4)))

        assert sorted(map(len, applied)) == [0, 0, 0, len(REVISIONS)]
        check(bare_dsn)

    def test_a_migration_that_fails_leaves_nothing(self, bare_dsn: str) -> None:
        with psycopg.connect(bare_dsn) as connection:
            connection.execute("CREATE SCHEMA flowstone; CREATE TABLE flowstone.flowstone_runs ()")

        with pytest.raises(DatabaseError, match="flowstone_runs"):
            migrate(bare_dsn)
        assert tables(bare_dsn) == {"flowstone.flowstone_runs"}
        assert status(bare_dsn).state is SchemaState.ABSENT

    def test_a_revision_that_does_not_exist_is_refused_by_name(self, bare_dsn: str) -> None:
        with pytest.raises(InvalidOptionError, match="'0815' does not exist"):
            migrate(bare_dsn, to="0815")

    def test_a_server_that_is_away_is_said_to_be(self) -> None:
        with pytest.raises(DatabaseUnreachableError):
            migrate("postgresql://user@/db?host=/nonexistent")
        with pytest.raises(DatabaseUnreachableError):
            status("postgresql://user@/db?host=/nonexistent")

    def test_a_database_that_does_not_exist_is_named(self, server_dsn: str) -> None:
        with pytest.raises(DatabaseError, match="no_such_database"):
            migrate(with_database(server_dsn, "no_such_database"))

    def test_a_role_that_may_not_create_needs_only_an_empty_schema(self, bare_dsn: str) -> None:
        with psycopg.connect(bare_dsn, autocommit=True) as connection:
            role = f"role_{os.getpid()}"
            connection.execute(f"CREATE ROLE {role} LOGIN".encode())
            connection.execute(f"CREATE SCHEMA flowstone AUTHORIZATION {role}".encode())
        try:
            limited = f"{bare_dsn}&options=-c%20role%3D{role}"
            if "?" not in bare_dsn:
                limited = f"{bare_dsn}?options=-c%20role%3D{role}"
            migrate(limited)
            check(limited)
            with pytest.raises(DatabaseError, match="permission denied"):
                migrate(limited, "another")
        finally:
            with psycopg.connect(bare_dsn, autocommit=True) as connection:
                connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


class TestFreshIsUpgraded:
    def test_step_by_step_and_at_once_and_without_migrations(self, bare_dsn: str, dsn: str) -> None:
        load_the_truth(bare_dsn, "flowstone")
        truth_dump = dump(bare_dsn)
        with psycopg.connect(bare_dsn) as connection:
            connection.execute("DROP SCHEMA flowstone CASCADE")
        for revision in REVISIONS:
            assert migrate(bare_dsn, to=revision) == [revision]

        assert "flowstone_jobs_updated" in truth_dump
        assert dump(bare_dsn) == truth_dump
        assert dump(dsn) == truth_dump

    def test_an_adopted_procrastinate_ends_up_the_same(self, bare_dsn: str, dsn: str) -> None:
        with psycopg.connect(bare_dsn) as connection:
            connection.execute("CREATE SCHEMA flowstone; SET search_path TO flowstone")
            connection.execute(SchemaManager.get_schema().encode())
            connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')"
            )

        migrate(bare_dsn)

        assert dump(bare_dsn) == dump(dsn)
        with psycopg.connect(bare_dsn) as connection:
            jobs = connection.execute("SELECT id FROM flowstone.procrastinate_jobs").fetchall()
        assert jobs == [(1,)]

    @pytest.mark.parametrize("adopting", [False, True])
    def test_the_printed_sql_does_the_same(self, bare_dsn: str, dsn: str, adopting: bool) -> None:
        if adopting:
            with psycopg.connect(bare_dsn) as connection:
                connection.execute("CREATE SCHEMA flowstone; SET search_path TO flowstone")
                connection.execute(SchemaManager.get_schema().encode())
        printed = pending_sql(bare_dsn)
        with psycopg.connect(bare_dsn, autocommit=True) as connection:
            connection.execute(printed.encode())

        assert dump(bare_dsn) == dump(dsn)
        assert check(bare_dsn).current == HEAD
        assert pending_sql(bare_dsn) == ""


class TestAnySchema:
    @pytest.mark.parametrize("name", NASTY)
    def test_any_identifier_will_do(self, bare_dsn: str, name: str) -> None:
        printed = pending_sql(bare_dsn, name)
        migrate(bare_dsn, name)

        assert check(bare_dsn, name).state is SchemaState.UP_TO_DATE
        assert printed.startswith("BEGIN;")
        assert {table.rpartition(".")[0] for table in tables(bare_dsn)} == {name}
        triggers.restore(bare_dsn, name)
        triggers.install(bare_dsn, name)
        with psycopg.connect(bare_dsn) as connection, psycopg.RawCursor(connection) as cursor:
            jobs = qualified(name, "procrastinate_jobs")
            cursor.execute(f"INSERT INTO {jobs} (queue_name, task_name) VALUES ('q', 't')".encode())
            with pytest.raises(psycopg.Error, match="there is no run 7"):
                cursor.execute(call(name, "flowstone_cancel_run_v1", "bigint").encode(), [7])

    @pytest.mark.parametrize(
        "name", ["", "a" * 41, "ü" * 21, "pg_mine", "information_schema", "a\0b", "\ud800", None]
    )
    def test_what_is_no_identifier_is_refused(self, bare_dsn: str, name: str) -> None:
        for function in (migrate, status, check, pending_sql, triggers.install):
            with pytest.raises(InvalidOptionError, match="schema"):
                function(bare_dsn, name)
        assert tables(bare_dsn) == set()

    def test_several_live_side_by_side(self, bare_dsn: str) -> None:
        with psycopg.connect(bare_dsn) as connection:
            connection.execute(SchemaManager.get_schema().encode())
        migrate(bare_dsn, "one")
        migrate(bare_dsn, "two")
        with psycopg.connect(bare_dsn) as connection:
            connection.execute(
                "INSERT INTO one.procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')"
            )
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM one.procrastinate_events), "
                "(SELECT count(*) FROM two.procrastinate_events), "
                "(SELECT count(*) FROM public.procrastinate_events)"
            ).fetchone()

        assert counts == (1, 0, 0)

    def test_the_files_name_no_schema(self) -> None:
        for file in [*sql_root().glob("core/**/*.sql"), *sql_root().glob("procrastinate/*.sql")]:
            statements = re.sub(r"--.*", "", file.read_text())
            assert not re.search(r"(?i)\b(flowstone|public)\.", statements), file


class TestRefusal:
    def test_a_database_without_tables_says_what_to_run(self, bare_dsn: str) -> None:
        with pytest.raises(SchemaVersionError, match="flowstone db migrate") as caught:
            check(bare_dsn)

        assert (caught.value.found, caught.value.expected) == (None, HEAD)

    def test_a_database_that_is_ahead_wants_newer_code(self, dsn: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE flowstone.alembic_version SET version_num = '9999_future'")

        assert status(dsn).state is SchemaState.AHEAD
        for function in (check, migrate, pending_sql):
            with pytest.raises(SchemaVersionError, match=r"9999_future.*upgrade FlowStone"):
                function(dsn)

    def test_a_procrastinate_that_we_do_not_know_is_not_touched(self, bare_dsn: str) -> None:
        with psycopg.connect(bare_dsn) as connection:
            connection.execute("CREATE SCHEMA flowstone; SET search_path TO flowstone")
            connection.execute(SchemaManager.get_schema().encode())
            connection.execute("ALTER TABLE procrastinate_jobs ADD COLUMN tenant int")
        before = dump(bare_dsn)

        with pytest.raises(SchemaFingerprintError, match=r"procrastinate_jobs\.tenant is unknown"):
            migrate(bare_dsn)
        assert dump(bare_dsn) == before

    async def test_a_connection_is_checked_like_a_dsn(
        self, dsn: str, pg: asyncpg.Connection
    ) -> None:
        assert await check_connection(pg, "flowstone") == check(dsn)
        assert "flowstone" not in await pg.fetchval("SHOW search_path")

        with pytest.raises(SchemaVersionError, match="flowstone db migrate"):
            await check_connection(pg, "elsewhere")
        await pg.execute("ALTER TABLE flowstone.procrastinate_jobs DISABLE TRIGGER USER")
        with pytest.raises(SchemaFingerprintError, match="flowstone db triggers"):
            await check_connection(pg, "flowstone")


class TestRevisions:
    def test_they_follow_one_another_in_the_order_of_their_names(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(sql_root() / "migrations"))
        walked = [
            script.revision for script in ScriptDirectory.from_config(config).walk_revisions()
        ]

        assert tuple(reversed(walked)) == REVISIONS
        assert all(re.fullmatch(r"\d{4}_[a-z0-9_]{1,27}", revision) for revision in REVISIONS)

    def test_a_developer_can_write_one(self, tmp_path: Path) -> None:
        root = sql_root().parent
        (tmp_path / "alembic.ini").write_text((root / "alembic.ini").read_text())
        (tmp_path / "sql").mkdir()
        subprocess.run(["cp", "-r", sql_root() / "migrations", tmp_path / "sql"], check=True)

        done = subprocess.run(
            [
                *(sys.executable, "-m", "alembic", "revision"),
                *("-m", "Add a column", "--rev-id", "0002_add_a_column"),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            check=False,
            capture_output=True,
            text=True,
        )

        written = tmp_path / "sql/migrations/versions/0002_add_a_column.py"
        assert written.exists(), done.stderr
        compile(written.read_text(), written, "exec")
        assert f"down_revision = {HEAD!r}" in written.read_text()
