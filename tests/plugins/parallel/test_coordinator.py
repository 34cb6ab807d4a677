"""The coordinators keep their contract, and what they keep goes with its materialization."""

from datetime import timedelta

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.retention import Retention
from flowstone.plugins.parallel import (
    Branch,
    ExecutionNotFoundError,
    ParallelCoordinator,
    parallel,
)
from flowstone.testing.contracts.parallel_coordinator_contract import ParallelCoordinatorContract
from tests.application.conftest import AppOf
from tests.application.stage import Stage, steps


def pipeline() -> Pipeline:
    p = Pipeline("p")
    one = p.asset(name="one")(lambda: 1)

    @p.asset
    @parallel()
    async def joined(one: int = Branch(one)) -> int:
        return one

    return p


class TestContract(ParallelCoordinatorContract):
    @pytest.fixture
    async def app(self, stage: Stage) -> FlowStone:
        self.stage = stage
        return await stage.app(pipeline())

    @pytest.fixture
    async def coordinator(self, app: FlowStone) -> ParallelCoordinator:
        return app.coordinator(ParallelCoordinator)

    @pytest.fixture
    async def execution(self, app: FlowStone) -> int:
        handle = await app.enqueue("one")
        return (await steps(app, handle.run_id))["one"].id

    async def advance(self, delta: timedelta) -> None:
        await self.stage.advance(delta)


async def test_an_execution_goes_with_its_materialization(app_of: AppOf, stage: Stage) -> None:
    app = await app_of(pipeline())
    await app.run("joined")
    (run,) = await app.store.runs(limit=1)
    id_ = (await steps(app, run.run_id))["joined"].id
    coordinator = app.coordinator(ParallelCoordinator)
    await app.run("joined", force=True)
    await stage.advance("100d")
    assert (await coordinator.status(id_)).branches

    while not (await app.store.prune(Retention())).is_done:
        pass

    with pytest.raises(ExecutionNotFoundError):
        await coordinator.status(id_)


async def test_what_one_application_keeps_another_one_sees(app_of: AppOf) -> None:
    app, other = await app_of(pipeline()), await app_of(pipeline())
    await app.run("joined")
    (run,) = await app.store.runs(limit=1)
    id_ = (await steps(app, run.run_id))["joined"].id

    seen = await other.coordinator(ParallelCoordinator).status(id_)

    assert seen == await app.coordinator(ParallelCoordinator).status(id_)


async def test_it_says_of_a_run_how_the_branches_stand(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("joined")
    (run,) = await app.store.runs(limit=1)
    id_ = (await steps(app, run.run_id))["joined"].id

    remarks = await app.coordinator(ParallelCoordinator).remarks(run.run_id)

    assert remarks == {id_: "branches: one success"}
