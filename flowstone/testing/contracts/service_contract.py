"""What every background service has to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.service import Service

STOP_SECONDS = 5.0


class ServiceContract:
    """
    Subclass it with the fixture ``service``, and with ``plugin`` when it needs what that registers.

    It runs in an application in memory; a service that needs more than that overrides `app`.
    """

    plugin: ClassVar[Plugin | None] = None

    @pytest.fixture
    def service(self) -> Service:
        """Give the service."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `service`")

    @pytest.fixture
    async def app(self) -> AsyncIterator[Host]:
        """Give an open application."""
        async with FlowStone([], plugins=[] if self.plugin is None else [self.plugin]) as app:
            yield app

    def test_it_is_a_service_of_this_contract(self, service: Service) -> None:
        check_implementation(service, Service, subject="the service")
        assert isinstance(service.is_elected, bool)
        assert service.takeover_seconds > 0

    async def test_it_lets_itself_be_cancelled(self, service: Service, app: Host) -> None:
        async with _running(service, app) as serving:
            pass

        assert serving.cancelled() or serving.exception() is None

    async def test_it_can_be_run_again(self, service: Service, app: Host) -> None:
        for _ in range(2):
            async with _running(service, app) as serving:
                assert not serving.done() or serving.exception() is None

    async def test_one_of_two_that_stops_leaves_the_other_alone(
        self, service: Service, app: Host
    ) -> None:
        async with _running(service, app) as other:
            async with _running(service, app):
                pass
            await asyncio.sleep(0)
            assert not other.done() or other.exception() is None


@asynccontextmanager
async def _running(service: Service, app: Host) -> AsyncIterator["asyncio.Task[None]"]:
    """Let it run, up to where it waits; then cancel it, which it has to heed in time."""
    serving = asyncio.ensure_future(service.run(app))
    for _ in range(10):
        await asyncio.sleep(0)
    yield serving
    serving.cancel()
    done, _ = await asyncio.wait([serving], timeout=STOP_SECONDS)
    assert done, f"it is still running {STOP_SECONDS:g} seconds after it was cancelled"
