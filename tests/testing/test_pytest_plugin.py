"""The plugin of pytest in a project of a user's, outside of this tree."""

from pathlib import Path

import psycopg
import pytest

from tests.architecture.imports import loaded_by
from tests.testing.a_project import PROJECT, run_tests

DATABASES = "SELECT datname FROM pg_database WHERE datname LIKE '%of_the_project%'"
NAMING = """
import secrets

token_hex = secrets.token_hex
secrets.token_hex = lambda size: f"of_the_project_{token_hex(size)}"
"""
SHOP = """
from flowstone import FlowStone, Pipeline

shop = Pipeline("shop")


@shop.job
async def send_mail(to: str) -> str:
    return f"Hello, {to}"


app = FlowStone(shop)
"""
TESTS = """
import pytest
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.testing import Drained, advance, drain
from shop import app, send_mail, shop

dsns = []


@pytest.fixture
async def opened(flowstone_app):
    async with flowstone_app(app) as opened:
        yield opened


async def test_in_memory_unless_told(opened, flowstone_store):
    assert flowstone_store == "memory"
    assert isinstance(opened.store, MemoryStore)
    await opened.enqueue(send_mail.with_("Ada"), delay="1h")
    await advance(opened, "1h")
    assert await drain(opened) == Drained(succeeded=1)


async def test_a_store_is_empty(opened):
    assert await drain(opened, with_scheduled=True) == Drained()
    assert app.store is not opened.store


@pytest.mark.flowstone_both
async def test_twice(opened, flowstone_store, flowstone_dsn):
    assert (flowstone_dsn is None) == isinstance(opened.store, MemoryStore)
    assert (flowstone_dsn is None) == (flowstone_store == "memory")
    await opened.enqueue(send_mail.with_("Ada"), delay="1h")
    assert await drain(opened, with_scheduled=True) == Drained(succeeded=1)


@pytest.mark.flowstone_postgres
@pytest.mark.parametrize("time", [1, 2])
async def test_a_database_is_empty_and_its_own(opened, time):
    assert opened.dsn not in dsns
    dsns.append(opened.dsn)
    assert await drain(opened, with_scheduled=True) == Drained()
    await opened.enqueue(send_mail.with_("Ada"), delay="1h")


async def test_who_asks_for_a_database_gets_one(flowstone_dsn, flowstone_app):
    async with flowstone_app(shop) as one, flowstone_app(shop) as other:
        assert one.dsn == other.dsn == flowstone_dsn is not None
        await one.enqueue(send_mail.with_("Ada"))
        assert await drain(other) == Drained(succeeded=1)


@pytest.mark.flowstone_postgres
async def test_a_schema_of_its_own(flowstone_app, flowstone_dsn):
    from flowstone import FlowStone

    for schema in ("elsewhere", "flowstone", "elsewhere"):
        async with flowstone_app(FlowStone(shop, schema=schema)) as opened:
            await advance(opened, "1h")
            assert opened.schema == schema


def test_an_application_has_its_options(flowstone_app):
    with pytest.raises(TypeError, match="retention"):
        flowstone_app(app, retention=None)
"""
STRICT = """
import pytest
from flowstone.testing import perform
from shop import app, send_mail


@pytest.mark.asyncio
async def test_in_strict_mode(flowstone_app):
    async with flowstone_app(app) as opened:
        assert await perform(opened, send_mail.with_("Ada")) == "Hello, Ada"
"""
SEEN = """
def test_a_database_has_the_name_that_is_looked_for(flowstone_dsn):
    assert "of_the_project" in flowstone_dsn


"""
UNUSED = """
import sys


def test_what_is_not_used_is_not_imported():
    assert "flowstone.testing.pytest_plugin" in sys.modules
    named = ("flowstone.core", "flowstone.engine", "asyncpg", "psycopg", "procrastinate")
    assert [name for name in sys.modules if name.startswith(named)] == []
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def test_a_project_tests_in_memory_and_on_postgres(project: Path, server_dsn: str) -> None:
    # Other tests make and drop databases on the same server.
    (project / "conftest.py").write_text(NAMING)
    said = run_tests(project, SEEN + TESTS, FLOWSTONE_TEST_DSN=server_dsn)

    assert "10 passed" in said
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        assert connection.execute(DATABASES).fetchall() == [], "databases are left over"


def test_an_embedded_server_serves_where_none_is_named(project: Path) -> None:
    said = run_tests(project, TESTS, "-k", "empty_and_its_own")

    assert "2 passed" in said


def test_another_mode_of_asyncio_will_do(project: Path) -> None:
    assert "1 passed" in run_tests(project, STRICT, "-o", "asyncio_mode=strict")


def test_the_markers_are_listed(project: Path) -> None:
    said = run_tests(project, "", "--markers")

    assert "@pytest.mark.flowstone_postgres: run this test's flowstone_app on Postgres" in said
    assert "@pytest.mark.flowstone_both: " in said


def test_a_session_that_does_not_use_it_imports_nothing(project: Path) -> None:
    assert "1 passed" in run_tests(project, UNUSED)


@pytest.mark.parametrize("module", ["flowstone.testing", "flowstone.testing.pytest_plugin"])
def test_importing_it_imports_nothing_of_ours(module: str) -> None:
    ours = {name for name in loaded_by("-c", f"import {module}") if name.startswith("flowstone.")}

    assert ours == {"flowstone.testing", module}


def test_the_helpers_need_no_pytest() -> None:
    loaded = loaded_by("-c", "from flowstone.testing import *")

    assert "pytest" not in loaded
    assert not any(name.startswith("flowstone.engine") for name in loaded)
