"""When a pump ends for good, and when it has to come again."""

import asyncio
from datetime import timedelta

import pytest

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.outcome import Outcome, Skipped, Snoozed
from flowstone.core.retry import Retry
from flowstone.plugins.scatter.body import Body
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.pump import Pump
from flowstone.plugins.scatter.pump_place import PumpPlace
from flowstone.plugins.scatter.records import PumpTurn, Turned
from flowstone.testing.contracts.scatter_barriers import OTHER, PUMP, begun
from tests.application.stage import Stage


class GivesBackLast:
    """Turns of a coordinator; what another pump has is given back just before ours ends."""

    def __init__(self, coordinator: ScatterCoordinator, barrier_id: int) -> None:
        self._turn = coordinator.turn
        self._barrier_id = barrier_id

    async def turn(self, turn: PumpTurn) -> Turned:
        if turn.ends:
            await self._turn(PumpTurn(self._barrier_id, OTHER, 1, ends=True))
        return await self._turn(turn)


async def double(number: int) -> int:
    return 2 * number


async def pumped(coordinator: ScatterCoordinator, barrier_id: int) -> Outcome:
    body = Body(
        double,
        parameter="number",
        item_type=int,
        codec=JsonCodec(),
        retry=Retry(3),
        normalizer=ErrorNormalizer(),
        asset="sales.each",
    )
    place = PumpPlace(
        barrier_id=barrier_id,
        pump_id=PUMP,
        claim=1,
        most_at_once=10,
        max_concurrent=None,
        has_rate=False,
        timeout=None,
        is_wanted_back=lambda: False,
    )
    return await asyncio.wait_for(Pump(place, coordinator, body).run(), 30)


async def test_a_pump_ends_for_good_when_others_have_all_that_is_left(stage: Stage) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = await begun(coordinator, 1, 2, 3)
    await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=3, begins=True))

    assert await pumped(coordinator, barrier_id) == Skipped()


async def test_a_pump_comes_again_for_what_was_given_back_while_it_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = await begun(coordinator, 1, 2, 3)
    await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=3, begins=True))
    monkeypatch.setattr(coordinator, "turn", GivesBackLast(coordinator, barrier_id).turn)

    assert await pumped(coordinator, barrier_id) == Snoozed(timedelta(0))
