"""Both coordinators keep the contract."""

import pytest

from flowstone.core.contracts.plugin import Plugin
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.plugin import plugin
from flowstone.testing.contracts.plugin_contract import PluginContract
from flowstone.testing.contracts.scatter_contract import ScatterContract
from tests.application.stage import Stage


class TestCoordinators(ScatterContract):
    @pytest.fixture
    async def coordinator(self, stage: Stage) -> ScatterCoordinator:
        app = await stage.app(plugins=["scatter"])
        return app.coordinator(ScatterCoordinator)


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return plugin
