"""
The plugin of pytest: applications in memory and on Postgres, a fresh one for each test.

=============================  ====================================================================
fixture                        gives
=============================  ====================================================================
``flowstone_app``              ``flowstone_app(app)``, or ``flowstone_app(pipeline, …)``: an
                               application for this test, to be opened with ``async with``
``flowstone_dsn``              the DSN of this test's database; None where it runs in memory
``flowstone_store``            ``memory`` or ``postgres``: where this test runs
``flowstone_server_dsn``       where databases are made; define it yourself for a server of yours
=============================  ====================================================================

A test runs in memory, unless it is marked ``flowstone_postgres`` or asks for ``flowstone_dsn``.
Marked ``flowstone_both`` it runs twice. Nothing of FlowStone is imported before a test asks for a
fixture.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flowstone.engine.disposable_databases import DisposableDatabase, DisposableDatabases
    from flowstone.testing.applications import Applications

MEMORY, POSTGRES = "memory", "postgres"
ON_POSTGRES, ON_BOTH = "flowstone_postgres", "flowstone_both"
SERVER = "FLOWSTONE_TEST_DSN"


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for name, effect in ((ON_POSTGRES, "on Postgres"), (ON_BOTH, "in memory, and on Postgres")):
        config.addinivalue_line("markers", f"{name}: run this test's flowstone_app {effect}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked for both twice."""
    if metafunc.definition.get_closest_marker(ON_BOTH) and "flowstone_store" in (
        metafunc.fixturenames
    ):
        metafunc.parametrize("flowstone_store", [MEMORY, POSTGRES], indirect=True)


@pytest.fixture
def flowstone_store(request: pytest.FixtureRequest) -> str:
    """Say where this test runs: ``memory`` or ``postgres``."""
    chosen = getattr(request, "param", None)
    if chosen is not None:
        return str(chosen)
    is_marked = request.node.get_closest_marker(ON_POSTGRES) is not None
    return POSTGRES if is_marked or "flowstone_dsn" in request.fixturenames else MEMORY


@pytest.fixture(scope="session")
def flowstone_server_dsn() -> Iterator[str]:
    """A server for databases of tests: what FLOWSTONE_TEST_DSN names, or an embedded Postgres."""
    given = os.environ.get(SERVER)
    if given:
        yield given
        return
    from flowstone.engine.disposable_databases import FAST_SETTINGS
    from flowstone.engine.embedded import EmbeddedPostgres

    with EmbeddedPostgres(settings=FAST_SETTINGS) as server:
        yield server.dsn()


@pytest.fixture(scope="session")
def _flowstone_databases(flowstone_server_dsn: str) -> Iterator["DisposableDatabases"]:
    from flowstone.engine.disposable_databases import DisposableDatabases

    databases = DisposableDatabases(flowstone_server_dsn)
    yield databases
    databases.close()


@pytest.fixture
def _flowstone_database(
    _flowstone_databases: "DisposableDatabases",
) -> Iterator["DisposableDatabase"]:
    with _flowstone_databases.one() as database:
        yield database


@pytest.fixture
def flowstone_dsn(flowstone_store: str, request: pytest.FixtureRequest) -> str | None:
    """The DSN of this test's own database, migrated and empty; None where it runs in memory."""
    if flowstone_store == MEMORY:
        return None
    database: DisposableDatabase = request.getfixturevalue("_flowstone_database")
    return database.prepared()


@pytest.fixture
def flowstone_app(flowstone_store: str, request: pytest.FixtureRequest) -> "Applications":
    """
    Make applications for this test: ``flowstone_app(app)``, ``flowstone_app(pipeline, io=…)``.

    All that one test makes share what is stored. Open them with ``async with``; what they have
    stored is gone after the test.
    """
    from flowstone.testing.applications import InMemory, OnPostgres

    if flowstone_store == MEMORY:
        return InMemory()
    return OnPostgres(request.getfixturevalue("_flowstone_database"))
