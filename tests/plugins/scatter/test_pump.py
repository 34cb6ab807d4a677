"""When a pump ends for good, and when it has to come again."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.outcome import Outcome, Skipped, Snoozed
from flowstone.core.rate import Rate
from flowstone.core.retry import Retry
from flowstone.plugins.scatter.body import Body
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.operations import ScatterChange, ScatterOperations
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.pump import Pump
from flowstone.plugins.scatter.pump_place import PumpPlace
from flowstone.plugins.scatter.records import BarrierState, ItemStatus, PumpTurn, Turned
from flowstone.plugins.scatter.turn_size import TURN_BYTES
from flowstone.testing.contracts.scatter_barriers import OTHER, PARTIAL, PUMP, begun, outcomes_of
from tests.application.conftest import in_memory
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


def new_pump(
    coordinator: ScatterCoordinator,
    barrier_id: int,
    function: Callable[..., Awaitable[object]] = double,
    **place_options: Any,
) -> Pump:
    body = Body(
        function,
        parameter="number",
        item_type=int,
        codec=JsonCodec(),
        retry=Retry(2, base=0, jitter=False),
        normalizer=ErrorNormalizer(),
        asset="sales.each",
    )
    place = PumpPlace(
        barrier_id=barrier_id,
        pump_id=PUMP,
        claim=1,
        **{
            "most_at_once": 10,
            "max_concurrent": None,
            "has_rate": False,
            "timeout": None,
            "is_wanted_back": lambda: False,
            **place_options,
        },
    )
    return Pump(place, coordinator, body)


async def pumped(
    coordinator: ScatterCoordinator, barrier_id: int, *given: Any, **options: Any
) -> Outcome:
    return await asyncio.wait_for(new_pump(coordinator, barrier_id, *given, **options).run(), 30)


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


@in_memory
async def test_what_a_pump_reports_when_it_ends_goes_in_parts_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = await begun(coordinator, 1, 2, 3)
    turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=3, begins=True))
    pump, turn_of = new_pump(coordinator, barrier_id), coordinator.turn
    pump._outcomes = outcomes_of(turned)
    for outcome in pump._outcomes:
        outcome.result = json.dumps("x" * (TURN_BYTES // 2))
    turns: list[tuple[int, bool]] = []

    async def turn(turn: PumpTurn) -> Turned:
        turns.append((len(turn.outcomes), turn.ends))
        return await turn_of(turn)

    monkeypatch.setattr(coordinator, "turn", turn)
    await pump._give_back()

    assert turns == [(1, False), (1, False), (1, True)]
    assert (await coordinator.status(barrier_id)).state is BarrierState.COMPLETED


async def errors_of(coordinator: ScatterCoordinator, barrier_id: int) -> dict[int, str]:
    failed = await coordinator.gather(barrier_id, statuses=[ItemStatus.FAILED])
    return {json.loads(it.item): json.loads(it.error or "{}")["message"] for it in failed}


async def test_an_item_whose_function_lets_a_cancellation_escape_has_failed(stage: Stage) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = await begun(coordinator, 1, 2, 3, options=PARTIAL)
    calls: list[int] = []

    async def cancelled(number: int) -> int:
        calls.append(number)
        if number == 2:
            raise asyncio.CancelledError
        return number

    await pumped(coordinator, barrier_id, cancelled)

    assert sorted(calls) == [1, 2, 3]
    assert [*await errors_of(coordinator, barrier_id)] == [2]
    assert (await coordinator.status(barrier_id)).state is BarrierState.PARTIAL_FAILURE


async def test_a_function_that_keeps_its_end_to_itself_takes_no_time_from_the_next_item(
    stage: Stage,
) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = await begun(coordinator, 1, 2, 3, options=PARTIAL)

    async def deaf(number: int) -> str:
        if number == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            return "kept"
        if number == 3:
            await asyncio.sleep(60)
        return "done"

    limits = {"timeout": timedelta(seconds=0.05), "max_concurrent": 1}
    await pumped(coordinator, barrier_id, deaf, most_at_once=1, **limits)

    done = await coordinator.gather(barrier_id)
    assert [it.result for it in done] == ['"kept"', '"done"']
    assert [*await errors_of(coordinator, barrier_id)] == [3]


async def test_an_item_that_is_too_late_for_its_time_is_not_begun_but_has_another(
    stage: Stage,
) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    options = ScatterOptions(rate_limit=Rate(20, timedelta(seconds=1)))
    barrier_id = await begun(coordinator, *range(12), options=options)
    starts: list[float] = []
    held_at = 0

    async def holding(number: int) -> int:
        nonlocal held_at
        starts.append(time.monotonic())
        if number == 3:
            held_at = len(starts) - 1
            # Whatever is due meanwhile is late; real time, as that is what it is about.
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                pass
        return number

    # Where it is late for long it gives its place up, and comes again.
    while isinstance(await pumped(coordinator, barrier_id, holding, has_rate=True), Snoozed):
        pass

    assert sorted(starts) == starts
    assert len(starts) == 12
    # Without it seven items would begin at once after the pause, each in the time of another.
    after = itertools.pairwise(starts[held_at + 1 :])
    at_once = itertools.takewhile(lambda pair: pair[1] - pair[0] < 0.005, after)
    assert len([*at_once]) <= 4
    status = await coordinator.status(barrier_id)
    assert (status.state, status.retried) == (BarrierState.COMPLETED, 0)


async def test_a_pump_asks_for_more_at_once_when_the_limit_that_it_began_with_is_raised(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await stage.app(plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    barrier_id = await begun(
        coordinator, *range(200), options=ScatterOptions(max_concurrent=1, max_attempts=1)
    )
    wants: list[int] = []
    turn_of = coordinator.turn

    async def turn(turn: PumpTurn) -> Turned:
        wants.append(turn.want)
        return await turn_of(turn)

    async def raising(number: int) -> int:
        if number == 3:
            operations = app.coordinator(ScatterOperations)
            await operations.change(barrier_id, ScatterChange(max_concurrent=50))
        return number

    monkeypatch.setattr(coordinator, "turn", turn)
    assert await pumped(coordinator, barrier_id, raising, most_at_once=50, max_concurrent=1)

    assert (await coordinator.status(barrier_id)).state is BarrierState.COMPLETED
    assert max(wants) > 1
