"""
Create, upgrade and check the tables in one Postgres schema.

Alembic runs from code: its revisions (``sql/migrations/versions``) only name the SQL files that
they load, and its version table lies in the schema. One migration is one transaction under one
lock: it happens whole or not at all, and a second one that starts meanwhile finds nothing to do.

Revisions follow one another without branches, and their names sort in that order. So a worker that
starts learns from the file names alone whether the database fits, without loading Alembic.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import asyncpg
import psycopg
from asyncpg.pool import PoolConnectionProxy

from flowstone.core.errors import InvalidOptionError, SchemaVersionError
from flowstone.engine import fingerprint
from flowstone.engine.database_errors import database_errors
from flowstone.engine.dsn import for_sqlalchemy, normalize
from flowstone.engine.statements import (
    checked_schema_name,
    qualified,
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


Driver = psycopg.Connection[tuple[object, ...]]


class SchemaState(StrEnum):
    """How a database's tables relate to this code."""

    ABSENT = "absent"
    PENDING = "pending"
    UP_TO_DATE = "up_to_date"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """
    Where a database stands.

    Attributes:
        current: The revision that it has; None before the first.
        head: The revision that this code needs.
        state: What that means; AHEAD also covers a revision that this code does not know.
    """

    current: str | None
    head: str
    state: SchemaState


@lru_cache(maxsize=1)
def revisions() -> tuple[str, ...]:
    """Return the names of all revisions, oldest first."""
    return tuple(sorted(file.stem for file in (sql_root() / "migrations/versions").glob("*.py")))


def migrate(dsn: str, schema: str = "flowstone", to: str = "head") -> list[str]:
    """
    Bring the schema to a revision and return those that were applied, oldest first.

    Creates the schema when there is none. Done twice, it changes nothing. A procrastinate that lies
    in the schema is adopted when it is one that we know.

    Args:
        to: "head" or the name of a revision; one that lies behind is no reason to go back.

    Raises:
        SchemaVersionError: The database is ahead of this code.
        SchemaFingerprintError: The schema holds a procrastinate that we do not know.
    """
    checked_schema_name(schema)
    if to != "head" and to not in revisions():
        known = ", ".join(revisions())
        raise InvalidOptionError(f"revision '{to}' does not exist; known are: head, {known}")
    with _migration(dsn, schema) as connection:
        found = _judged(_current(_driver(connection), schema))
        if found.state is SchemaState.AHEAD:
            raise _version_error(found, schema)
        applied = _between(found.current, to)
        if applied:
            _upgrade(connection, schema, to)
    return applied


def pending_sql(dsn: str, schema: str = "flowstone") -> str:
    """
    Return the SQL that `migrate` would run, as one transaction to be read or run by hand.

    Empty when there is nothing to do.
    """
    with transaction(dsn, schema) as connection:
        found = _judged(_current(connection, schema))
        adopts = _has_procrastinate(connection, schema)
        exists = _exists(connection, schema)
    if found.state is SchemaState.AHEAD:
        raise _version_error(found, schema)
    if found.state is SchemaState.UP_TO_DATE:
        return ""

    from alembic import command

    out = io.StringIO()
    config = _config(schema, adopts_procrastinate=adopts, output_buffer=out)
    command.upgrade(config, f"{found.current or 'base'}:head", sql=True)
    # Even with IF NOT EXISTS, CREATE SCHEMA asks for a right that the role may not have.
    create = [] if exists else [f"CREATE SCHEMA {quoted(schema)}"]
    preamble = ["BEGIN", _LOCK, *create, set_search_path(schema)]
    return ";\n".join(preamble) + ";\n\n" + out.getvalue().strip() + "\n\nCOMMIT;\n"


def status(dsn: str, schema: str = "flowstone") -> SchemaStatus:
    """Say where the database stands; reads only."""
    with transaction(dsn, schema) as connection:
        return _judged(_current(connection, schema))


def check(dsn: str, schema: str = "flowstone") -> SchemaStatus:
    """
    Refuse a database that this code cannot work with.

    Raises:
        SchemaVersionError: It is not migrated, or migrated further than this code; it names the
            command that helps.
        SchemaFingerprintError: The procrastinate in it is not one that we know.
    """
    with transaction(dsn, schema) as connection:
        found = _checked(_judged(_current(connection, schema)), schema)
        fingerprint.check(fingerprint.read(connection), schema)
    return found


async def check_connection(
    connection: asyncpg.Connection | PoolConnectionProxy, schema: str
) -> SchemaStatus:
    """Do what `check` does on a connection that is open; four statements, reads only."""
    checked_schema_name(schema)
    with database_errors():
        async with connection.transaction(readonly=True):
            await connection.execute(set_search_path(schema))
            current = None
            if await connection.fetchval(_HAS_VERSION_TABLE):
                current = await connection.fetchval(_version_of(schema))
            found = _checked(_judged(current), schema)
            fingerprint.check(await fingerprint.read_from_asyncpg(connection), schema)
    return found


@contextmanager
def transaction(dsn: str, schema: str) -> Iterator[Driver]:
    """Open a connection and one transaction, in which unqualified names mean the schema."""
    checked_schema_name(schema)
    with database_errors(), psycopg.connect(normalize(dsn)) as connection:
        connection.execute(set_search_path(schema).encode())
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


_HAS_VERSION_TABLE = """\
SELECT EXISTS (
    SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'alembic_version'
)"""


@contextmanager
def _migration(dsn: str, schema: str) -> Iterator["Connection"]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(for_sqlalchemy(dsn), poolclass=NullPool)
    with database_errors(), engine.begin() as connection:
        _run(connection, _LOCK)
        if not _exists(_driver(connection), schema):
            _run(connection, f"CREATE SCHEMA {quoted(schema)}")
        _run(connection, set_search_path(schema))
        yield connection


def _upgrade(connection: "Connection", schema: str, to: str) -> None:
    from alembic import command

    adopts = _has_procrastinate(_driver(connection), schema)
    config = _config(schema, adopts_procrastinate=adopts)
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _config(
    schema: str, *, adopts_procrastinate: bool, output_buffer: io.StringIO | None = None
) -> "Config":
    from alembic.config import Config

    config = Config(output_buffer=output_buffer)
    # A percent sign in the path would otherwise start an interpolation.
    config.set_main_option("script_location", str(sql_root() / "migrations").replace("%", "%%"))
    config.attributes["schema"] = schema
    config.attributes["adopts_procrastinate"] = adopts_procrastinate
    return config


def _run(connection: "Connection", statements: str) -> None:
    """Run a script as it is: no parameters, hence no placeholders and any number of statements."""
    connection.exec_driver_sql(statements, execution_options={"no_parameters": True})


def _driver(connection: "Connection") -> Driver:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _current(connection: Driver, schema: str) -> str | None:
    """Read the revision; the connection's search_path is the schema, which may not exist."""
    (exists,) = connection.execute(_HAS_VERSION_TABLE).fetchone() or (False,)
    if not exists:
        return None
    row = connection.execute(_version_of(schema).encode()).fetchone()
    return str(row[0]) if row else None


def _version_of(schema: str) -> str:
    return f"SELECT version_num FROM {qualified(schema, 'alembic_version')}"


def _exists(connection: Driver, schema: str) -> bool:
    found = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema])
    return found.fetchone() is not None


def _has_procrastinate(connection: Driver, schema: str) -> bool:
    found = connection.execute(
        "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'procrastinate_jobs'", [schema]
    )
    return found.fetchone() is not None


def _judged(current: str | None) -> SchemaStatus:
    head = revisions()[-1]
    if current is None:
        state = SchemaState.ABSENT
    elif current == head:
        state = SchemaState.UP_TO_DATE
    else:
        state = SchemaState.PENDING if current in revisions() else SchemaState.AHEAD
    return SchemaStatus(current, head, state)


def _checked(found: SchemaStatus, schema: str) -> SchemaStatus:
    if found.state is not SchemaState.UP_TO_DATE:
        raise _version_error(found, schema)
    return found


def _version_error(found: SchemaStatus, schema: str) -> SchemaVersionError:
    match found.state:
        case SchemaState.ABSENT:
            problem = f"schema '{schema}' has no FlowStone tables; run: flowstone db migrate"
        case SchemaState.AHEAD:
            problem = (
                f"schema '{schema}' is at revision {found.current}, which this FlowStone does not "
                f"know (it ends at {found.head}); upgrade FlowStone"
            )
        case _:
            problem = (
                f"schema '{schema}' is at revision {found.current}, and this FlowStone needs "
                f"{found.head}; run: flowstone db migrate"
            )
    return SchemaVersionError(problem, found=found.current, expected=found.head)


def _between(current: str | None, to: str) -> list[str]:
    known = revisions()
    first = known.index(current) + 1 if current else 0
    last = len(known) if to == "head" else known.index(to) + 1
    return list(known[first:last])
