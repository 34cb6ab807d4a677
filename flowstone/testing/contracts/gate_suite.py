"""What each part of the suite for gates needs."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.plugins.signal_gate.coordinator import (
    GateCoordinator,
    NewGate,
)
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    new_run,
    new_worker,
)


class GateSuite:
    """The two things that a subclass provides, and what the tests make of them."""

    @pytest.fixture
    async def app(self) -> FlowStone:
        """Give an open application that has the coordinator, over an empty store."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `app`")

    @pytest.fixture
    def advance(self) -> Callable[[timedelta], Awaitable[None]]:
        """Give what lets time pass in the application's store."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `advance`")

    @pytest.fixture
    def gates(self, app: FlowStone) -> GateCoordinator:
        """Give the coordinator itself."""
        return app.coordinator(GateCoordinator)

    @pytest.fixture
    async def worker(self, app: FlowStone) -> Worker:
        """Give a worker."""
        return await new_worker(app.store)

    @pytest.fixture
    async def run(self, app: FlowStone, worker: Worker) -> SmallRun:
        """Give a run of ``a`` and ``x``, which the worker owns."""
        run = await new_run(app.store, {"a": [], "x": []})
        self.claims = await worker.claim()
        return run

    def new(self, name: str = "a", token: str = "t", **given: object) -> NewGate:
        """Return a gate of what the worker owns."""
        claim = self.claims[name]
        return NewGate(claim.id, claim.claim, token, **given)  # type: ignore[arg-type]
