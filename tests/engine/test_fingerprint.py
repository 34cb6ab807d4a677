"""A procrastinate that we do not know is refused, and the message says where it differs."""

import importlib.metadata
import json
from pathlib import Path

import psycopg
import pytest
from procrastinate.schema import SchemaManager
from psycopg.conninfo import make_conninfo

from flowstone.core.errors import SchemaFingerprintError
from flowstone.engine import fingerprint
from flowstone.engine.schema import check, migrate, transaction


@pytest.fixture
def stock(bare_dsn: str) -> str:
    """A database with procrastinate's own schema in public, as its own command makes it."""
    with psycopg.connect(bare_dsn) as connection:
        connection.execute(SchemaManager.get_schema().encode())
    return bare_dsn


def found_in(dsn: str, schema: str = "public") -> fingerprint.Fingerprint:
    with transaction(dsn, schema) as connection:
        return fingerprint.read(connection)


def change(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(f"SET search_path TO public; {statement}".encode())


OFF = "ALTER TABLE procrastinate_jobs DISABLE TRIGGER"
EMPTIED = """
    CREATE OR REPLACE FUNCTION procrastinate_unregister_worker_v1(worker_id bigint)
    RETURNS void LANGUAGE plpgsql AS 'BEGIN END'
"""
AUDITED = """
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER audit AFTER INSERT ON procrastinate_jobs EXECUTE FUNCTION f()
"""


class TestTheRecords:
    def test_the_installed_procrastinate_is_recorded(self, stock: str, tmp_path: Path) -> None:
        version = ".".join(importlib.metadata.version("procrastinate").split(".")[:2])
        found = found_in(stock)

        recorded = fingerprint.known().get(version, {})
        new_record = tmp_path / f"{version}.json"
        new_record.write_text(found.to_json())
        assert not fingerprint.differences(found.objects, recorded), (
            f"if the engine's SQL fits this procrastinate, its record is {new_record}"
        )

    def test_what_its_migrations_make_is_the_same(self, bare_dsn: str) -> None:
        folder = Path(SchemaManager.get_migrations_path())
        with psycopg.connect(bare_dsn, autocommit=True) as connection:
            for file in sorted(folder.glob("*.sql")):
                connection.execute(file.read_bytes())

        assert fingerprint.check(found_in(bare_dsn), "public") == "3.10"

    def test_the_digest_is_the_same_in_every_schema(self, stock: str) -> None:
        migrate(stock, "new")  # also a name in the definitions of triggers

        assert found_in(stock, "new").digest == found_in(stock).digest

    def test_it_does_not_depend_on_how_a_session_reads_backslashes(self, stock: str) -> None:
        old_ways = make_conninfo(stock, options="-c standard_conforming_strings=off")

        assert found_in(old_ways).digest == found_in(stock).digest

    def test_records_are_sorted_json(self) -> None:
        for version, objects in fingerprint.known().items():
            assert list(objects) == sorted(objects), version
            assert json.loads(fingerprint.Fingerprint(objects, {}).to_json()) == objects


class TestRefusal:
    @pytest.mark.parametrize(
        ("statement", "difference"),
        [
            (
                "ALTER TABLE procrastinate_jobs ADD COLUMN tenant int",
                "column procrastinate_jobs.tenant is unknown",
            ),
            (
                "ALTER TABLE procrastinate_jobs ALTER COLUMN priority TYPE bigint",
                "column procrastinate_jobs.priority differs",
            ),
            (
                "ALTER TABLE procrastinate_jobs ALTER COLUMN priority DROP NOT NULL",
                "column procrastinate_jobs.priority differs",
            ),
            (
                "ALTER TABLE procrastinate_jobs RENAME COLUMN attempts TO tries",
                "column procrastinate_jobs.attempts is missing",
            ),
            (
                "ALTER TABLE procrastinate_jobs DROP CONSTRAINT check_not_todo_abort_requested",
                "constraint procrastinate_jobs.check_not_todo_abort_requested is missing",
            ),
            (
                "DROP INDEX procrastinate_jobs_queueing_lock_idx_v1",
                "index procrastinate_jobs_queueing_lock_idx_v1 is missing",
            ),
            (
                "ALTER TYPE procrastinate_job_status ADD VALUE 'paused'",
                "type procrastinate_job_status differs",
            ),
            (
                EMPTIED,
                "function procrastinate_unregister_worker_v1(worker_id bigint) differs",
            ),
            (
                "CREATE FUNCTION procrastinate_fetch_job_v3() RETURNS void LANGUAGE sql AS ''",
                "function procrastinate_fetch_job_v3() is unknown",
            ),
            (
                "DROP TRIGGER procrastinate_trigger_delete_jobs_v1 ON procrastinate_jobs",
                "trigger procrastinate_jobs.procrastinate_trigger_delete_jobs_v1 is missing",
            ),
            (
                f"{OFF} procrastinate_trigger_status_events_insert_v1",
                "trigger procrastinate_trigger_status_events_insert_v1 is off",
            ),
            (
                f"{OFF} procrastinate_trigger_delete_jobs_v1",
                "trigger procrastinate_trigger_delete_jobs_v1 is off",
            ),
        ],
    )
    def test_names_the_object_that_differs(
        self, stock: str, statement: str, difference: str
    ) -> None:
        change(stock, statement)

        with pytest.raises(SchemaFingerprintError) as caught:
            fingerprint.check(found_in(stock), "public")

        assert difference in str(caught.value)
        assert difference in caught.value.context["differences"]
        assert "public" in str(caught.value)

    def test_says_what_to_do(self, stock: str) -> None:
        change(stock, "DROP TABLE procrastinate_periodic_defers")

        with pytest.raises(SchemaFingerprintError, match="a schema of its own"):
            fingerprint.check(found_in(stock), "public")

    def test_an_index_that_was_left_half_built_is_no_index(self, stock: str) -> None:
        change(
            stock,
            "UPDATE pg_index SET indisvalid = false "
            "WHERE indexrelid = 'procrastinate_jobs_lock_idx_v1'::regclass",
        )

        with pytest.raises(SchemaFingerprintError, match="procrastinate_jobs_lock_idx_v1"):
            fingerprint.check(found_in(stock), "public")


class TestTolerance:
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE INDEX flowstone_mine ON procrastinate_jobs (queue_name, id)",
            "CREATE INDEX an_owners_index ON procrastinate_jobs (task_name)",
            "CREATE TABLE elsewhere (id int)",
            "ALTER TABLE procrastinate_jobs SET (fillfactor = 70)",
            AUDITED,
            "ALTER FUNCTION procrastinate_register_worker_v1() SET search_path TO public",
            "COMMENT ON TABLE procrastinate_jobs IS 'ours'",
        ],
    )
    def test_what_an_owner_adds_is_the_owners(self, stock: str, statement: str) -> None:
        change(stock, statement)

        assert fingerprint.check(found_in(stock), "public") == "3.10"

    def test_our_own_objects_do_not_count(self, dsn: str, stock: str) -> None:
        assert found_in(dsn, "flowstone").objects == found_in(stock).objects
        check(dsn)
