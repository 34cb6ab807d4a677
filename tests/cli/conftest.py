"""A project folder with a small application, in which commands are run."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowstone.cli.project import project_of
from tests.cli.invocation import forget_modules
from tests.conftest import a_database

SHOP = """\
import asyncio
from pathlib import Path

from flowstone import Cancel, Config, Dep, FlowStone, Pipeline, Retry, Skip

sales = Pipeline("sales")
other = Pipeline("other")


class Top(Config):
    top_n: int = 2


@sales.asset
async def numbers() -> list[int]:
    return [3, 1, 2]


@sales.asset
async def report(config: Top, base: list[int] = Dep(numbers)) -> list[int]:
    return sorted(base)[: config.top_n]


@other.asset
async def broken() -> int:
    raise ValueError("negative total")


@other.asset
async def behind_broken(total: int = Dep(broken)) -> int:
    return total


@other.asset(retry=Retry(2, base="1ms"))
async def flaky() -> int:
    raise ConnectionError("nobody there")


@other.asset
async def no_json() -> object:
    return [1.5, float('nan')]


@other.asset
async def stopped() -> int:
    return Cancel("not today")


@other.asset
async def left_out() -> int:
    return Skip("nothing new")


@other.asset(queue="slow")
async def slow() -> str:
    Path("began").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return "done"


app = FlowStone([sales, other])
"""


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a command does to its process, which is usually its last."""
    for name in os.environ:
        if name.startswith("FLOWSTONE_"):
            monkeypatch.delenv(name)
    for name in ("DATABASE_URL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    loaded = set(sys.modules)
    project_of.cache_clear()
    yield
    assert not logging.getLogger("flowstone.asset").filters
    forget_modules(tmp_path, set(sys.modules) - loaded)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``shop.py`` in it, and ``shop:app`` chosen."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWSTONE_APP", "shop:app")
    return tmp_path


@pytest.fixture
def durable(project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, on a migrated database of the test's own."""
    monkeypatch.setenv("FLOWSTONE_DSN", dsn)
    return project


@pytest.fixture(scope="session")
def quiet_dsn(server_dsn: str, template_database: str) -> Iterator[str]:
    """A migrated database for tests that change nothing in it."""
    with a_database(server_dsn, template_database) as dsn:
        yield dsn


@pytest.fixture
def reading(project: Path, quiet_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, on a database that stays empty."""
    monkeypatch.setenv("FLOWSTONE_DSN", quiet_dsn)
    return project
