"""Every case of a run is played on both stores."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.conformance.stage import Stage


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_dsn(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("dsn"))


@pytest.fixture
async def stage(store_dsn: str | None) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as opened:
        yield Stage(store_dsn, opened)
