"""
Databases that tests make and throw away: from a template that is migrated once, in milliseconds.

What is made here is marked as being for tests, by a comment on its schema. Whatever a test may do
to a database and nobody else, such as moving its time, asks for that mark first.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from flowstone.core.contracts.tables import Tables
from flowstone.engine.database_errors import database_errors
from flowstone.engine.dsn import normalize, with_database
from flowstone.engine.schema import NO_TABLES, migrate, transaction
from flowstone.engine.statements import quoted

MARK = "FlowStone, for tests: its time may be moved and its workers killed"
"""The comment on a schema that is for tests."""

FAST_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
"""For a server of which nothing has to survive a crash."""


class DisposableDatabases:
    """
    Makes databases on one server, and drops them.

    Args:
        server_dsn: Of any database there; its role has to have the right to create others.
    """

    def __init__(self, server_dsn: str) -> None:
        self._server = normalize(server_dsn)
        self._templates: dict[tuple[str, frozenset[tuple[str, Tables]]], str] = {}

    @contextmanager
    def one(self) -> Iterator["DisposableDatabase"]:
        """Give a database for as long as the block runs; it is made when it is first used."""
        database = DisposableDatabase(self)
        try:
            yield database
        finally:
            if database.dsn is not None:
                self._drop(database.dsn)

    def close(self) -> None:
        """Drop the templates."""
        while self._templates:
            self._drop(self._templates.popitem()[1])

    def copy(self, schema: str, tables: Mapping[str, Tables]) -> str:
        """Make a database that is migrated, marked and empty, and return its DSN."""
        key = schema, frozenset(tables.items())
        if key not in self._templates:
            dsn = self._templates[key] = self._create("template0")
            prepare(dsn, schema, tables)
        return self._create(_name(self._templates[key]))

    def _create(self, template: str) -> str:
        name = f"flowstone_test_{secrets.token_hex(6)}"
        self._administer(f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}")
        return with_database(self._server, name)

    def _drop(self, dsn: str) -> None:
        self._administer(f"DROP DATABASE IF EXISTS {quoted(_name(dsn))} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        with database_errors(), psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement.encode())


class DisposableDatabase:
    """
    The database of one test.

    Attributes:
        dsn: None until it is made.
    """

    def __init__(self, databases: DisposableDatabases) -> None:
        self.dsn: str | None = None
        self._databases = databases
        self._prepared: set[tuple[str, frozenset[tuple[str, Tables]]]] = set()

    def prepared(self, schema: str = "flowstone", tables: Mapping[str, Tables] = NO_TABLES) -> str:
        """Return its DSN once it has this schema, with these tables of plugins."""
        wanted = schema, frozenset(tables.items())
        if self.dsn is None:
            self.dsn = self._databases.copy(schema, tables)
        elif wanted not in self._prepared:
            prepare(self.dsn, schema, tables)
        self._prepared.add(wanted)
        return self.dsn


def prepare(dsn: str, schema: str, tables: Mapping[str, Tables]) -> None:
    """Migrate a schema of a database that is for tests, and mark it."""
    migrate(dsn, schema, tables=tables)
    mark_as_test(dsn, schema=schema)


def mark_as_test(dsn: str, *, schema: str = "flowstone") -> None:
    """
    Say that a schema holds nothing but what tests put there.

    Raises:
        DatabaseError: There is no such schema, or it is another role's.
    """
    with transaction(dsn, schema) as connection:
        connection.execute(f"COMMENT ON SCHEMA {quoted(schema)} IS '{MARK}'".encode())


def _name(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])
