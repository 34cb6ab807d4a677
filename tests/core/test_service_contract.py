"""The services of the core keep the contract of those that plugins bring."""

from datetime import timedelta

import pytest

from flowstone import FlowStone
from flowstone.core.contracts.service import Service
from flowstone.core.pruning import Pruning
from flowstone.core.retention import DEFAULT_RETENTION
from flowstone.core.sweeping import Sweeping
from flowstone.testing.contracts.service_contract import ServiceContract


class TestPruning(ServiceContract):
    @pytest.fixture
    def service(self) -> Service:
        return Pruning(DEFAULT_RETENTION)


class TestSweeping(ServiceContract):
    @pytest.fixture
    def service(self) -> Service:
        return Sweeping(FlowStone([])._sweeper, timedelta(hours=1))
