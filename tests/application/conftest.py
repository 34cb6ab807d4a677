"""Every scenario plays twice: in memory, and on Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from flowstone import FlowStone
from tests.application.entries import Entries
from tests.application.stage import MemoryStage, PostgresStage, Stage
from tests.conftest import a_database

AppOf = Callable[..., Awaitable[FlowStone]]

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)

in_memory = pytest.mark.parametrize("empty_stage", ["memory"], indirect=True)
on_postgres = pytest.mark.parametrize("empty_stage", [POSTGRES], indirect=True)
"""For what only one of them has."""


@pytest.fixture(scope="session")
def shared_database(server_dsn: str, template_database: str) -> Iterator[str]:
    """One database for all scenarios; each finds it empty and leaves it so."""
    with a_database(server_dsn, template_database) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def admin(shared_database: str) -> Iterator[psycopg.Connection[Any]]:
    options = "-c search_path=flowstone -c lock_timeout=1min"
    with psycopg.connect(shared_database, autocommit=True, options=options) as connection:
        yield connection


@pytest.fixture(params=["memory", POSTGRES])
def empty_stage(request: pytest.FixtureRequest) -> Stage:
    if request.param == "memory":
        return MemoryStage()
    dsn = request.getfixturevalue("shared_database")
    return PostgresStage(dsn, request.getfixturevalue("admin"))


@pytest.fixture
async def stage(empty_stage: Stage) -> AsyncIterator[Stage]:
    """An empty store, and time that a test can let pass."""
    yield empty_stage
    await empty_stage.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert left == set(), "tasks are left over"


@pytest.fixture
def sync_stage(empty_stage: Stage) -> Iterator[Stage]:
    """The same for a test without an event loop."""
    yield empty_stage
    asyncio.run(empty_stage.close())


@pytest.fixture
def app_of(stage: Stage) -> AppOf:
    """``await app_of(pipeline, **options)`` opens an application over the scenario's store."""
    return stage.app


@pytest.fixture
def entries(admin: psycopg.Connection[Any]) -> Iterator[Entries]:
    admin.execute("CREATE TABLE public.entries (note text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield Entries(admin)
    admin.execute("DROP TABLE public.entries")
