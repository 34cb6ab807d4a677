"""Which event loop a command runs on."""

import asyncio
import sys

import pytest

from flowstone.cli.running import run_async


async def running_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_where_uvloop_is_installed_commands_use_it() -> None:
    assert run_async(running_loop) == "uvloop"


def test_without_it_they_run_on_asyncios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert run_async(running_loop).startswith("asyncio")
