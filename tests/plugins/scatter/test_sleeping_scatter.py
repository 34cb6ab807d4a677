"""A scatter whose items all wait for their time is woken when there is something to do."""

from datetime import timedelta

import pytest

from flowstone import Pipeline, Retry
from flowstone.plugins.scatter import scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.operations import (
    ScatterChange,
    ScatterOperations,
)
from flowstone.plugins.scatter.records import PumpTurn, Turned
from tests.application.stage import Stage, drain


def two_that_fail(broken: list[bool]) -> Pipeline:
    """While it is broken the first fails for good, and the second waits an hour."""
    pipeline = Pipeline("p")

    @pipeline.asset
    @scatter(
        [1, 2],
        retry_strategy=Retry(2, base="1h", cap="1h", discard=LookupError),
        failure_mode="partial",
        failure_threshold=1.0,
    )
    async def each(number: int) -> int:
        if broken:
            raise LookupError if number == 1 else ConnectionError
        return number

    return pipeline


class TestOneThatSleeps:
    """Everything waits for its time, and its pumps for that."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flowstone.plugins.scatter.pump.PATIENCE_SECONDS", 0.02)

    async def test_goes_on_at_once_with_failures_that_are_tried_again(self, stage: Stage) -> None:
        broken = [True]
        app = await stage.app(two_that_fail(broken))
        handle = await app.enqueue("each")
        await drain(app)
        [row] = await app.store.materializations(handle.run_id)
        operations = app.coordinator(ScatterOperations)
        assert (await operations.progress(row.id)).failed == 1
        broken.clear()

        assert await operations.retry_failed(row.id) == 1
        await drain(app)

        found = await operations.progress(row.id)
        assert (found.completed, found.failed, found.status) == (1, 0, "executing")

    async def test_goes_on_also_if_its_last_pump_was_about_to_go(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Two of one process do not work at one scatter: the new one waits until the other is gone.
        monkeypatch.setattr("flowstone.plugins.scatter.strategy.NEXT_LOOK", timedelta(0))
        broken = [True]
        app = await stage.app(two_that_fail(broken))
        operations = app.coordinator(ScatterOperations)
        coordinator = app.coordinator(ScatterCoordinator)
        turn_of = coordinator.turn

        async def turn(turn: PumpTurn) -> Turned:
            turned = await turn_of(turn)
            if turn.ends and broken:
                broken.clear()
                assert await operations.retry_failed(turn.barrier_id) == 1
            return turned

        monkeypatch.setattr(coordinator, "turn", turn)
        handle = await app.enqueue("each")
        await drain(app)

        [row] = await app.store.materializations(handle.run_id)
        found = await operations.progress(row.id)
        assert (found.completed, found.failed, found.status) == (1, 0, "executing")

    async def test_goes_on_at_once_at_a_rate_that_is_higher_by_now(self, stage: Stage) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        @scatter([1, 2], rate_limit="1/h")
        async def each(number: int) -> int:
            return number

        app = await stage.app(pipeline)
        handle = await app.enqueue(each)
        await drain(app)
        [row] = await app.store.materializations(handle.run_id)
        operations = app.coordinator(ScatterOperations)
        assert (await operations.progress(row.id)).completed == 1

        await operations.change(row.id, ScatterChange(rate=None))
        await drain(app)

        assert (await operations.progress(row.id)).status == "completed"
