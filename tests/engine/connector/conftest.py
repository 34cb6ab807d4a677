"""Applications of procrastinate's, in a plain schema and in one with a nasty name."""

import logging
from collections.abc import AsyncIterator

import procrastinate
import pytest

from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.schema import migrate

NASTY = "a b\"c';d\\e%s"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="procrastinate")


@pytest.fixture(params=["flowstone", NASTY], ids=["plain schema", "nasty schema"])
def schema(request: pytest.FixtureRequest, dsn: str) -> str:
    if request.param != "flowstone":
        migrate(dsn, request.param)
    return str(request.param)


@pytest.fixture
async def app(dsn: str, schema: str) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(connector=AsyncpgConnector(dsn, schema))
    async with app.open_async():
        yield app


@pytest.fixture
async def plain(dsn: str) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(connector=AsyncpgConnector(dsn))
    async with app.open_async():
        yield app
