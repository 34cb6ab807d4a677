"""Both keepers of approvals keep the contract."""

from collections.abc import AsyncIterator

import pytest

from flowstone import FlowStone
from flowstone.plugins.checkpoints import CheckpointCoordinator
from flowstone.plugins.checkpoints.memory_approvals import MemoryApprovals
from flowstone.plugins.checkpoints.postgres_approvals import PostgresApprovals
from flowstone.testing import mark_as_test, memory_app
from flowstone.testing.contracts.checkpoint_coordinator_contract import (
    CheckpointCoordinatorContract,
)
from tests.application.stage import PostgresStage
from tests.plugins.conftest import admin, shared_database, template_database

__all__ = ["admin", "shared_database", "template_database"]


class TestMemory(CheckpointCoordinatorContract):
    @pytest.fixture
    async def app(self) -> AsyncIterator[FlowStone]:
        async with memory_app(FlowStone([], plugins=["checkpoints"])) as app:
            assert isinstance(app.coordinator(CheckpointCoordinator), MemoryApprovals)
            yield app


@pytest.mark.postgres
class TestPostgres(CheckpointCoordinatorContract):
    @pytest.fixture
    async def app(self, shared_database: str, admin: object) -> AsyncIterator[FlowStone]:
        stage = PostgresStage(shared_database, admin)
        await mark_as_test(shared_database)
        app = await stage.app(plugins=["checkpoints"])
        assert isinstance(app.coordinator(CheckpointCoordinator), PostgresApprovals)
        yield app
        await stage.close()
