"""What the package brings keeps FlowStone's contracts: the public suites, run from outside."""

from pathlib import Path

import pytest
from flowstone_tally.counts import CountsResource
from flowstone_tally.notes_io import NotesIO
from flowstone_tally.plugin import plugin as tally_plugin
from flowstone_tally.service import Counter

from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.resource import Resource
from flowstone.core.contracts.service import Service
from flowstone.testing.contracts.io_manager_contract import IOManagerContract
from flowstone.testing.contracts.plugin_contract import PluginContract
from flowstone.testing.contracts.resource_contract import ResourceContract
from flowstone.testing.contracts.service_contract import ServiceContract


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return tally_plugin


class TestIO(IOManagerContract):
    @pytest.fixture
    async def io(self, tmp_path: Path) -> IOManager:
        return NotesIO(str(tmp_path / "notes"))


class TestResource(ResourceContract):
    @pytest.fixture
    def resource(self) -> Resource[object]:
        return CountsResource()


class TestService(ServiceContract):
    plugin = tally_plugin

    @pytest.fixture
    def service(self) -> Service:
        return Counter()
