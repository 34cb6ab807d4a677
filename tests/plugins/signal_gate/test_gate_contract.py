"""Both keepers of gates keep the contract, and so does the plugin."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from flowstone import FlowStone
from flowstone.core.contracts.plugin import Plugin
from flowstone.plugins.signal_gate.plugin import plugin
from flowstone.testing.contracts.gate_coordinator_contract import GateCoordinatorContract
from flowstone.testing.contracts.plugin_contract import PluginContract
from tests.application.stage import Stage


class TestGates(GateCoordinatorContract):
    @pytest.fixture
    async def app(self, stage: Stage) -> FlowStone:
        return await stage.app(plugins=["signal_gate"])

    @pytest.fixture
    def advance(self, stage: Stage) -> Callable[[timedelta], Awaitable[None]]:
        return stage.advance


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return plugin
