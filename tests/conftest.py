"""A Postgres server for the session, a migrated template, and a fresh database per test."""

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import psycopg
import pytest
from hypothesis import HealthCheck, settings

from flowstone.engine.disposable_databases import FAST_SETTINGS
from flowstone.engine.dsn import for_asyncpg, normalize, with_database
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.schema import migrate
from flowstone.engine.statements import quoted

# How fast an example is depends on who else is at work here. Each run tries the same ones; to look
# for others: --hypothesis-profile=hunting.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "hunting", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=2000
)
settings.load_profile("steady")
FROM_A_DATABASE = {"server_dsn", "dsn", "bare_dsn", "template_database"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and FROM_A_DATABASE & set(item.fixturenames):
            item.add_marker(pytest.mark.postgres)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let what was captured pass to another process: a lone surrogate, which some log, does not."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """A server on which databases can be created; FLOWSTONE_TEST_DSN, or an embedded one."""
    given = os.environ.get("FLOWSTONE_TEST_DSN")
    if given:
        yield normalize(given)
        return
    with EmbeddedPostgres(settings={**FAST_SETTINGS, "max_connections": "200"}) as server:
        yield server.dsn()


@pytest.fixture(scope="session")
def template_database(server_dsn: str) -> Iterator[str]:
    """The name of a database that is migrated and that nobody connects to."""
    with a_database(server_dsn) as dsn:
        migrate(dsn)
        yield dsn.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def dsn(server_dsn: str, template_database: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with a_database(server_dsn, template_database) as dsn:
        yield dsn


@pytest.fixture
def bare_dsn(server_dsn: str) -> Iterator[str]:
    """An empty database of the test's own."""
    with a_database(server_dsn) as dsn:
        yield dsn


@pytest.fixture
async def pg(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's migrated database."""
    connection = await asyncpg.connect(**for_asyncpg(dsn))
    yield connection
    await connection.close()


@contextmanager
def a_database(server_dsn: str, template: str = "template0") -> Iterator[str]:
    name = f"flowstone_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}".encode())
    try:
        yield with_database(server_dsn, name)
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {quoted(name)} WITH (FORCE)".encode())
