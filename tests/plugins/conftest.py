"""Scenarios of plugins play in memory and on Postgres, where the tables of all plugins are."""

from collections.abc import Iterator, Mapping

import pytest

from flowstone.core import plugin, registries
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import MissingExtraError
from flowstone.engine.schema import migrate
from tests.application.conftest import (  # fixtures
    admin,
    app_of,
    empty_stage,
    shared_database,
    stage,
    sync_stage,
)
from tests.conftest import a_database

__all__ = ["admin", "app_of", "empty_stage", "shared_database", "stage", "sync_stage"]


def registries_of_plugins() -> Registries:
    """Return what the core and all plugins that can be imported here have registered."""
    known = registries.in_memory()
    for name in plugin.discover():
        try:
            plugin.install([plugin.load(name)], known)
        except MissingExtraError:
            continue
    return known


def tables_of_plugins() -> Mapping[str, Tables]:
    """Return the tables of all plugins that can be imported here, by name."""
    known = registries_of_plugins()
    return {name: known.tables.instance(name) for name in known.tables}


@pytest.fixture(scope="session")
def template_database(server_dsn: str) -> Iterator[str]:
    """The name of a migrated database, with the tables of plugins, that nobody connects to."""
    with a_database(server_dsn) as dsn:
        migrate(dsn, tables=tables_of_plugins())
        yield dsn.partition("?")[0].rpartition("/")[2]
