"""Permits of pumps: never more than the limit, whatever overlaps, and none kept by the gone."""

import random
from collections.abc import Iterator

import pytest

from flowstone import Pipeline
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.memory_barriers import Barrier
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.permits import Permits
from flowstone.plugins.scatter.records import NewBarrier, PumpTurn
from flowstone.testing.contracts.scatter_barriers import PUMP, begun
from tests.application.stage import Stage, newest_run, steps

LIMIT = 8


class Place:
    """A pump that runs as much as it may, and whose turns are answered whenever that is."""

    def __init__(self, pump_id: int, chance: random.Random) -> None:
        self.id, self._chance = pump_id, chance
        self.permits = Permits(100)
        self.running = 0
        self._asked: list[PumpTurn] = []
        self._answers: list[int] = []

    def step(self, barrier: Barrier) -> None:
        coming = self._chance.choice([0, 3, 100])
        match self._chance.randrange(5):
            case 0:
                wanted, running = self.permits.ask(self.running, coming)
                turn = PumpTurn(0, self.id, 1, running=running, wanted_permits=wanted)
                if wanted is not None:
                    self._asked.append(turn)
            case 1 if self._asked:
                place = self._chance.randrange(len(self._asked))
                self._answers.append(barrier.permit(self._asked.pop(place), LIMIT))
            case 2 if self._answers:
                self.permits.answered(self._answers.pop(0))
            case 3 if self.running < self.permits.count:
                self.running += 1
            case 4 if self.running:
                self.running -= 1


@pytest.mark.parametrize("seed", range(20))
def test_pumps_never_run_more_than_the_limit_however_their_turns_overlap(
    seed: int,
) -> None:
    chance = random.Random(seed)
    options = ScatterOptions(max_concurrent=LIMIT)
    new = NewBarrier(1, 1, "sales.items", "", options)
    barrier = Barrier(new, None)  # type: ignore[arg-type]
    pumps = [Place(it, chance) for it in range(4)]
    most = 0

    for _ in range(2000):
        chance.choice(pumps).step(barrier)
        running = sum(it.running for it in pumps)
        assert running <= LIMIT
        most = max(most, running)

    assert most > LIMIT // 2


def test_only_one_turn_at_a_time_asks_and_the_pump_keeps_to_what_it_said() -> None:
    permits = Permits(10)

    def asked() -> Iterator[object]:
        yield permits.ask(0, 5)
        permits.answered(8)
        yield permits.ask(2, 3)
        yield permits.count
        yield permits.ask(2, 3)
        permits.answered(None)
        yield permits.count
        yield permits.ask(7, 0)

    assert list(asked()) == [(10, 0), (10, 5), 5, (None, 2), 5, (10, 7)]


async def test_permits_of_a_pump_that_is_gone_go_to_others(stage: Stage) -> None:
    sales = Pipeline("sales")

    @sales.asset
    async def gone() -> int:
        return 1

    app = await stage.app(sales, plugins=["scatter"])
    coordinator = app.coordinator(ScatterCoordinator)
    await app.run(gone)
    [record] = (await steps(app, (await newest_run(app)).run_id)).values()
    barrier_id = await begun(coordinator, *range(20), options=ScatterOptions(max_concurrent=4))

    async def permits(pump_id: int, *, asks: bool = False) -> int:
        turn = PumpTurn(barrier_id, pump_id, 1, wanted_permits=9, asks=asks)
        return (await coordinator.turn(turn)).permits

    assert await permits(record.id) == 4
    assert await permits(PUMP) == 0
    assert await permits(PUMP, asks=True) == 4
