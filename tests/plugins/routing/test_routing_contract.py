"""Both keepers of decisions keep the contract."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from flowstone import FlowStone
from flowstone.core.contracts.plugin import Plugin
from flowstone.plugins.routing.plugin import plugin
from flowstone.testing.contracts.plugin_contract import PluginContract
from flowstone.testing.contracts.routing_contract import RoutingContract
from tests.application.stage import Stage


class TestRouting(RoutingContract):
    @pytest.fixture
    async def app(self, stage: Stage) -> FlowStone:
        return await stage.app(plugins=["routing"])

    @pytest.fixture
    def advance(self, stage: Stage) -> Callable[[timedelta], Awaitable[None]]:
        return stage.advance


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return plugin
