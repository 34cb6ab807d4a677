from pathlib import Path

import pytest

from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.plugin import Plugin
from flowstone.plugins.io_files import FilesIO
from flowstone.plugins.io_files.plugin import FilesPlugin
from flowstone.testing.contracts.io_manager_contract import IOManagerContract
from flowstone.testing.contracts.plugin_contract import PluginContract


class TestFilesIO(IOManagerContract):
    @pytest.fixture
    async def io(self, tmp_path: Path) -> IOManager:
        return FilesIO(tmp_path / "made" / "when" / "missing")


class TestCompressed(IOManagerContract):
    value: object = {"value": "again and " * 1_000}

    @pytest.fixture
    async def io(self, tmp_path: Path) -> IOManager:
        return FilesIO(tmp_path, compress_above=100)


class TestRawBytes(IOManagerContract):
    value = b"\x00\xff\r\n"
    other_value = b""
    annotation = bytes

    @pytest.fixture
    async def io(self, tmp_path: Path) -> IOManager:
        return FilesIO(tmp_path, raw_bytes=True)


class TestWithALatestLink(IOManagerContract):
    @pytest.fixture
    async def io(self, tmp_path: Path) -> IOManager:
        return FilesIO(tmp_path, latest=True)


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return FilesPlugin()
