"""The page about IO runs, and the IO managers that it shows keep the contract."""

import shlex
import tempfile
from collections.abc import Mapping
from typing import Any

import pytest

from flowstone.cli.sweep_command import sweep_command
from flowstone.core.contracts.io_manager import IOManager
from flowstone.testing.contracts.io_manager_contract import IOManagerContract
from tests.docs.code_blocks import blocks
from tests.docs.test_pages import run

PAGE = "docs/io.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the page's program has defined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("page")))
        return run(PAGE)


@pytest.mark.parametrize("line", [it for b in blocks(PAGE, "sh") for it in b.text.splitlines()])
def test_a_command_is_one(line: str) -> None:
    program, group, name, *arguments = shlex.split(line, comments=True)

    assert (program, group, name) == ("flowstone", "asset", "sweep")
    sweep_command.make_context(name, arguments)


class TestTheShortOne(IOManagerContract):
    @pytest.fixture
    async def io(self, page: Mapping[str, Any]) -> IOManager:
        manager: IOManager = page["BucketIO"]()
        return manager


class TestTheOneThatCanBeSwept(IOManagerContract):
    @pytest.fixture
    async def io(self, page: Mapping[str, Any]) -> IOManager:
        manager: IOManager = page["SweptBucketIO"]()
        return manager
