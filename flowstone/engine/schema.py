"""
Create, upgrade and check the tables in one Postgres schema.

Alembic runs from code: its revisions (``sql/migrations/versions``) only name the SQL files that
they load, and its version table lies in the schema. One migration is one transaction under one
lock: it happens whole or not at all, and a second one that starts meanwhile finds nothing to do.
The tables that plugins bring are migrated, looked at and checked together with our own; each has a
line of revisions of its own (`flowstone.engine.revisions`).
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import asyncpg
import psycopg
from asyncpg.pool import PoolConnectionProxy

from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import InvalidOptionError
from flowstone.engine import fingerprint
from flowstone.engine.database_errors import database_errors
from flowstone.engine.dsn import for_sqlalchemy, normalize
from flowstone.engine.revisions import (
    Line,
    SchemaState,
    SchemaStatus,
    checked,
    is_behind,
    lines_of,
    version_error,
)
from flowstone.engine.statements import (
    checked_schema_name,
    quoted,
    script,
    set_search_path,
    sql_root,
)

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

# "flowston" in ASCII: migrations of one database take turns.
_LOCK = "SELECT pg_advisory_xact_lock(7380396448182202222)"


NO_TABLES: Mapping[str, Tables] = MappingProxyType({})

Driver = psycopg.Connection[tuple[object, ...]]


def migrate(
    dsn: str,
    schema: str = "flowstone",
    to: str = "head",
    *,
    tables: Mapping[str, Tables] = NO_TABLES,
) -> list[str]:
    """
    Bring the schema to a revision and return those that were applied, oldest first.

    Creates the schema when there is none. Done twice, it changes nothing. A procrastinate that lies
    in the schema is adopted when it is one that we know. A plugin's tables come to their head after
    our own, in the same transaction; their revisions are returned as ``plugin: revision``.

    Args:
        to: "head" or the name of a revision; one that lies behind is no reason to go back.
        tables: What plugins bring, by name.

    Raises:
        SchemaVersionError: The database is ahead of this code, and serves it no more.
        SchemaFingerprintError: The schema holds a procrastinate that we do not know.
        InvalidOptionError: A plugin's revisions are not as `Tables` asks for.
    """
    checked_schema_name(schema)
    own, *lines = lines_of(tables)
    if to != "head" and to not in own.revisions:
        known = ", ".join(own.revisions)
        raise InvalidOptionError(f"revision '{to}' does not exist; known are: head, {known}")
    with _migration(dsn, schema) as connection:
        applied = _bring(connection, own, schema, to)
        for line in lines:
            brought = _bring(connection, line, schema, "head")
            applied += [f"{line.plugin}: {revision}" for revision in brought]
    return applied


def _bring(connection: "Connection", line: Line, schema: str, to: str) -> list[str]:
    """Apply what is missing of one line and return its names."""
    found = _status(_driver(connection), line, schema)
    if found.state is SchemaState.AHEAD:
        raise version_error(found, schema)
    if found.state is SchemaState.NEWER:
        return []
    applied = line.between(found.current, to)
    if not applied:
        return []
    _upgrade(connection, line, schema, to)
    now = _status(_driver(connection), line, schema).current
    if now != applied[-1]:
        raise InvalidOptionError(
            f"tables '{line.plugin}': {applied[-1]}.py leads to revision '{now}'; a file is named "
            "after its revision, and the names sort in the order of the revisions"
        )
    return applied


def pending_sql(
    dsn: str, schema: str = "flowstone", *, tables: Mapping[str, Tables] = NO_TABLES
) -> str:
    """
    Return the SQL that `migrate` would run, as one transaction to be read or run by hand.

    Empty when there is nothing to do.
    """
    lines = lines_of(tables)
    with transaction(dsn, schema) as connection:
        found = [_status(connection, line, schema) for line in lines]
        adopts = _has_procrastinate(connection, schema)
        exists = _exists(connection, schema)
    for it in found:
        if it.state is SchemaState.AHEAD:
            raise version_error(it, schema)
    if not is_behind(found):
        return ""

    from alembic import command

    out = io.StringIO()
    for line, it in zip(lines, found, strict=True):
        if not it.fits:
            config = _config(line, schema, adopts_procrastinate=adopts, output_buffer=out)
            command.upgrade(config, f"{it.current or 'base'}:head", sql=True)
    # Even with IF NOT EXISTS, CREATE SCHEMA asks for a right that the role may not have.
    create = [] if exists else [f"CREATE SCHEMA {quoted(schema)}"]
    preamble = ["BEGIN", _LOCK, *create, set_search_path(schema)]
    return ";\n".join(preamble) + ";\n\n" + out.getvalue().strip() + "\n\nCOMMIT;\n"


def status(dsn: str, schema: str = "flowstone") -> SchemaStatus:
    """Say where the database stands; reads only."""
    return statuses(dsn, schema)[0]


def statuses(
    dsn: str, schema: str = "flowstone", *, tables: Mapping[str, Tables] = NO_TABLES
) -> list[SchemaStatus]:
    """Say where the database stands with our own tables, then with those of plugins."""
    lines = lines_of(tables)
    with transaction(dsn, schema) as connection:
        return [_status(connection, line, schema) for line in lines]


def check(
    dsn: str, schema: str = "flowstone", *, tables: Mapping[str, Tables] = NO_TABLES
) -> SchemaStatus:
    """
    Refuse a database that this code cannot work with.

    Raises:
        SchemaVersionError: It is not migrated, or to where this code is not served any more; it
            names the command that helps.
        SchemaFingerprintError: The procrastinate in it is not one that we know.
    """
    lines = lines_of(tables)
    with transaction(dsn, schema) as connection:
        found = [checked(_status(connection, line, schema), schema) for line in lines]
        fingerprint.check(fingerprint.read(connection), schema)
    return found[0]


async def check_connection(
    connection: asyncpg.Connection | PoolConnectionProxy,
    schema: str,
    *,
    tables: Mapping[str, Tables] = NO_TABLES,
) -> SchemaStatus:
    """Do what `check` does on a connection that is open; a few statements, reads only."""
    checked_schema_name(schema)
    found = []
    with database_errors():
        async with connection.transaction(readonly=True):
            await connection.execute(set_search_path(schema))
            for line in lines_of(tables):
                current = None
                if await connection.fetchval(_HAS_TABLE.format("$1"), line.version_table):
                    current = await connection.fetchval(line.version_query(schema))
                status = line.judge(current)
                if status.state is SchemaState.AHEAD and await connection.fetchval(
                    _HAS_TABLE.format("$1"), SERVED
                ):
                    query = _SERVES_SINCE.format("$1", "$2")
                    since = await connection.fetchval(query, line.plugin, current)
                    status = line.judge(current, since)
                found.append(checked(status, schema))
            fingerprint.check(await fingerprint.read_from_asyncpg(connection), schema)
    return found[0]


@contextmanager
def transaction(dsn: str, schema: str, *, migrated: bool = False) -> Iterator[Driver]:
    """
    Open a connection and one transaction, in which unqualified names mean the schema.

    Args:
        migrated: Refuse a schema that has none of our own tables.
    """
    checked_schema_name(schema)
    with database_errors(), psycopg.connect(normalize(dsn)) as connection:
        connection.execute(set_search_path(schema).encode())
        if migrated:
            (own,) = lines_of(NO_TABLES)
            status = _status(connection, own, schema)
            if status.state is SchemaState.ABSENT:
                checked(status, schema)
        yield connection


# Called by revisions, while Alembic runs


def apply(*names: str) -> None:
    """Load SQL files, in the order given; offline, write them out instead."""
    from alembic import context, op

    for name in names:
        if context.is_offline_mode():
            op.get_context().impl.static_output(f"-- {name}\n{script(name).strip()}\n")
        else:
            _run(op.get_bind(), script(name))


def still_serves(since: str, *, revision: str) -> None:
    """
    Let older code start on, and work with, the tables as a revision leaves them.

    It holds for that revision alone: one that comes later and does not say so serves only code that
    knows it. See CONTRIBUTING.md for what a revision has to keep.

    Args:
        since: The last revision that the oldest such code knows.
        revision: The one that is being applied.
    """
    from alembic import context, op

    plugin = context.config.attributes["plugin"]
    row = ", ".join("'" + it.replace("'", "''") + "'" for it in (plugin, revision, since))
    statement = (
        f"INSERT INTO {SERVED} (plugin, revision, serves_since) VALUES ({row}) "
        "ON CONFLICT (plugin) DO UPDATE "
        "SET revision = excluded.revision, serves_since = excluded.serves_since"
    )
    if context.is_offline_mode():
        op.get_context().impl.static_output(f"{statement};\n")
    else:
        _run(op.get_bind(), statement)


def apply_procrastinate() -> None:
    """
    Create procrastinate's objects from the file that its package brings.

    Where they lie in the schema already they are left as they are; either way they have to be the
    ones that we know.
    """
    from alembic import context, op
    from procrastinate.schema import SchemaManager

    offline = context.is_offline_mode()
    if context.config.attributes["adopts_procrastinate"]:
        pass
    elif offline:
        op.get_context().impl.static_output(SchemaManager.get_schema())
    else:
        _run(op.get_bind(), SchemaManager.get_schema())
    if not offline:
        schema = context.config.attributes["schema"]
        fingerprint.check(fingerprint.read(_driver(op.get_bind())), schema)


SERVED = "flowstone_served_code"
_SERVES_SINCE = "SELECT serves_since FROM flowstone_served_code WHERE plugin = {} AND revision = {}"
_HAS_TABLE = """\
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = {})"""


@contextmanager
def _migration(dsn: str, schema: str) -> Iterator["Connection"]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    # What another migration has done while this one waited for the lock has to be seen.
    engine = create_engine(
        for_sqlalchemy(dsn), poolclass=NullPool, isolation_level="READ COMMITTED"
    )
    with database_errors(), engine.begin() as connection:
        _run(connection, _LOCK)
        if not _exists(_driver(connection), schema):
            _run(connection, f"CREATE SCHEMA {quoted(schema)}")
        _run(connection, set_search_path(schema))
        yield connection


def _upgrade(connection: "Connection", line: Line, schema: str, to: str) -> None:
    from alembic import command

    adopts = _has_procrastinate(_driver(connection), schema)
    config = _config(line, schema, adopts_procrastinate=adopts)
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _config(
    line: Line,
    schema: str,
    *,
    adopts_procrastinate: bool,
    output_buffer: io.StringIO | None = None,
) -> "Config":
    from alembic.config import Config

    def option(name: str, value: object) -> None:
        # A percent sign in a path would otherwise start an interpolation.
        config.set_main_option(name, str(value).replace("%", "%%"))

    config = Config(output_buffer=output_buffer)
    option("script_location", sql_root() / "migrations")
    option("path_separator", "newline")
    option("version_locations", line.folder)
    config.attributes["schema"] = schema
    config.attributes["plugin"] = line.plugin
    config.attributes["version_table"] = line.version_table
    config.attributes["adopts_procrastinate"] = adopts_procrastinate
    return config


def _run(connection: "Connection", statements: str) -> None:
    """Run a script as it is: no parameters, hence no placeholders and any number of statements."""
    connection.exec_driver_sql(statements, execution_options={"no_parameters": True})


def _driver(connection: "Connection") -> Driver:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _status(connection: Driver, line: Line, schema: str) -> SchemaStatus:
    """Read how far a line has come; the connection's search_path is the schema, if it exists."""
    exists = _has_table(connection, line.version_table)
    row = connection.execute(line.version_query(schema).encode()).fetchone() if exists else None
    current = str(row[0]) if row else None
    status = line.judge(current)
    if status.state is SchemaState.AHEAD and _has_table(connection, SERVED):
        query = _SERVES_SINCE.format("%s", "%s").encode()
        since = connection.execute(query, [line.plugin, current]).fetchone()
        status = line.judge(current, str(since[0]) if since else None)
    return status


def _has_table(connection: Driver, name: str) -> bool:
    (exists,) = connection.execute(_HAS_TABLE.format("%s").encode(), [name]).fetchone() or (False,)
    return bool(exists)


def _exists(connection: Driver, schema: str) -> bool:
    found = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema])
    return found.fetchone() is not None


def _has_procrastinate(connection: Driver, schema: str) -> bool:
    found = connection.execute(
        "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'procrastinate_jobs'", [schema]
    )
    return found.fetchone() is not None
