"""Tables that plugins bring are created, upgraded, shown and required beside our own."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from flowstone import FlowStone
from flowstone.core.contracts.health import Level
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import DatabaseError, InvalidOptionError, SchemaVersionError
from flowstone.engine.diagnosis import examine
from flowstone.engine.revisions import SchemaState, own_line
from flowstone.engine.schema import migrate, pending_sql, statuses
from tests.engine.test_schema import dump

FIRST = """
from alembic import op

revision = "0001_counts"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE tally_counts (name text PRIMARY KEY, count bigint NOT NULL)")
"""
SECOND = """
from alembic import op

revision = "0002_when"
down_revision = "0001_counts"


def upgrade():
    op.execute("ALTER TABLE tally_counts ADD counted_at timestamptz NOT NULL DEFAULT now()")
"""
Brought = dict[str, Tables]
Write = Callable[..., Brought]


@pytest.fixture
def brought(tmp_path: Path) -> Write:
    """``brought(first=FIRST)`` gives tables whose folder has these revisions, and no others."""

    def write(**revisions: str) -> Brought:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "__init__.py").touch()
        for name, source in revisions.items():
            (folder / f"{name}.py").write_text(source)
        return {"tally": Tables(folder)}

    return write


@pytest.fixture
def both(brought: Write) -> Brought:
    return brought(**{"0001_counts": FIRST, "0002_when": SECOND})


class Tally(Plugin):
    name = "tally"

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def register(self, registries: Registries) -> None:
        registries.tables.register("tally", self.tables)


def tallied(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT count(*) FROM flowstone.tally_counts").fetchone()
    assert found
    return int(found[0])


class TestMigrating:
    def test_both_lines_come_to_their_heads(self, bare_dsn: str, both: Brought) -> None:
        applied = migrate(bare_dsn, tables=both)

        assert applied == [*own_line().revisions, "tally: 0001_counts", "tally: 0002_when"]
        assert migrate(bare_dsn, tables=both) == []
        assert tallied(bare_dsn) == 0

    def test_ours_alone_leaves_theirs_as_they_are(self, dsn: str, both: Brought) -> None:
        migrate(dsn, tables=both)

        assert migrate(dsn) == []
        assert tallied(dsn) == 0

    def test_what_was_upgraded_is_what_a_fresh_one_is(
        self, dsn: str, bare_dsn: str, brought: Write, both: Brought
    ) -> None:
        migrate(dsn, tables=brought(**{"0001_counts": FIRST}))
        assert migrate(dsn, tables=both) == ["tally: 0002_when"]

        migrate(bare_dsn, tables=both)

        assert dump(dsn) == dump(bare_dsn)

    def test_the_printed_sql_does_the_same(self, dsn: str, bare_dsn: str, both: Brought) -> None:
        printed = {it: pending_sql(it, tables=both) for it in (dsn, bare_dsn)}
        for place, sql in printed.items():
            with psycopg.connect(place, autocommit=True) as connection:
                connection.execute(sql.encode())

        assert dump(dsn) == dump(bare_dsn)
        assert pending_sql(dsn, tables=both) == ""
        assert migrate(dsn, tables=both) == []

    def test_it_happens_whole_or_not_at_all(self, bare_dsn: str, brought: Write) -> None:
        wrong = SECOND.replace("ALTER TABLE tally_counts", "ALTER TABLE tally_absent")

        with pytest.raises(DatabaseError, match="tally_absent"):
            migrate(bare_dsn, tables=brought(**{"0001_counts": FIRST, "0002_when": wrong}))

        with psycopg.connect(bare_dsn) as connection:
            found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'flowstone'")
            assert found.fetchone() is None

    def test_a_file_that_is_not_named_after_its_revision_is_refused(
        self, bare_dsn: str, brought: Write
    ) -> None:
        with pytest.raises(InvalidOptionError, match=r"0001\.py leads to revision '0001_counts'"):
            migrate(bare_dsn, tables=brought(**{"0001": FIRST}))

    def test_a_folder_without_revisions_is_refused(self, bare_dsn: str, brought: Write) -> None:
        with pytest.raises(InvalidOptionError, match="'tally': there are no revisions in"):
            migrate(bare_dsn, tables=brought())

    def test_a_name_that_is_none_for_tables_is_refused(self, both: Brought) -> None:
        with pytest.raises(InvalidOptionError, match="'Tally!': the name has to be"):
            statuses("postgresql://127.0.0.1:1/none", tables={"Tally!": both["tally"]})

    def test_two_schemas_have_their_own(self, dsn: str, both: Brought) -> None:
        migrate(dsn, tables=both)

        applied = migrate(dsn, "second_place", tables=both)

        assert "tally: 0002_when" in applied
        assert dump(dsn, "second_place").replace("second_place", "flowstone") == dump(dsn)


class TestState:
    def test_it_says_where_each_line_stands(self, dsn: str, brought: Write, both: Brought) -> None:
        def state(tables: Brought) -> SchemaState:
            own, tally = statuses(dsn, tables=tables)
            assert (own.state, tally.plugin) == (SchemaState.UP_TO_DATE, "tally")
            return tally.state

        first = brought(**{"0001_counts": FIRST})
        states = [state(both)]
        migrate(dsn, tables=first)
        states += [state(both), state(first)]
        migrate(dsn, tables=both)
        states += [state(both), state(first)]

        assert states == ["absent", "pending", "up_to_date", "up_to_date", "ahead"]

    def test_the_doctor_tells_it(self, dsn: str, both: Brought) -> None:
        def finding() -> tuple[Level, str | None]:
            found = {it.check: it for it in examine(dsn, tables=both)}["tables tally"]
            return found.level, found.mend

        before = finding()
        migrate(dsn, tables=both)

        assert before == (Level.FAIL, "flowstone db migrate")
        assert finding() == (Level.OK, None)


class TestRequired:
    async def test_an_application_without_its_plugins_tables_is_refused(
        self, dsn: str, both: Brought
    ) -> None:
        app = FlowStone([], dsn=dsn, plugins=[Tally(both["tally"])])

        with pytest.raises(
            SchemaVersionError,
            match="lacks the tables of plugin 'tally'; run: flowstone db migrate",
        ):
            await app.open()

        migrate(dsn, tables=app.tables)
        async with app:
            report = await app.health()
        assert {it.check: it.message for it in report.findings}["tables tally"].endswith(
            "is at 0002_when"
        )

    async def test_tables_that_a_newer_plugin_made_are_refused(
        self, dsn: str, brought: Write, both: Brought
    ) -> None:
        migrate(dsn, tables=both)
        older = brought(**{"0001_counts": FIRST})

        with pytest.raises(SchemaVersionError, match="upgrade plugin 'tally'"):
            await FlowStone([], dsn=dsn, plugins=[Tally(older["tally"])]).open()

    async def test_without_a_database_none_is_needed(self, both: Brought) -> None:
        async with FlowStone([], plugins=[Tally(both["tally"])]) as app:
            assert (await app.health()).ok
