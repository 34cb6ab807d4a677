"""How a coordinator of scatters speaks with pumps: what it hands out, takes and refuses."""

import json
from datetime import timedelta

from flowstone.core.rate import Rate
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import (
    BarrierState,
    ItemEvent,
    ItemStatus,
    PumpTurn,
)
from flowstone.testing.contracts.scatter_barriers import (
    OTHER,
    PUMP,
    begun,
    outcomes_of,
)


class PumpsContract:
    """A part of `ScatterContract`."""

    async def test_items_are_handed_out_once(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, *range(5))

        one = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=3, begins=True))
        other = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=9, begins=True))
        none = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=9, held=3))

        assert [*one.handed.indexes, *other.handed.indexes] == [0, 1, 2, 3, 4]
        assert (none.handed.indexes, none.wait) == ((), None)

    async def test_any_part_of_a_chunk_can_be_settled(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(4))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=4, begins=True))
        outcomes = outcomes_of(turned)

        part = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes[1:3], held=2))
        rest = await coordinator.turn(
            PumpTurn(barrier_id, PUMP, 1, [outcomes[0], outcomes[3]], turned.handed.chunk_ids[:1])
        )

        assert (part.completed, part.state) == (2, BarrierState.EXECUTING)
        assert (rest.completed, rest.state) == (4, BarrierState.COMPLETED)

    async def test_what_a_pump_gives_back_goes_to_others(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=3, begins=True))

        await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes_of(turned)[:1], ends=True))
        other = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=9, begins=True))

        assert list(other.handed.indexes) == [1, 2]

    async def test_a_pump_that_ends_is_told_what_nobody_has(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=2, begins=True))
        [again, done] = outcomes_of(turned, ItemEvent.RETRIED)[:1] + outcomes_of(turned)[1:]
        again.delay = timedelta(minutes=1)

        unread = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, [again, done], ends=True))
        other = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=9, begins=True))
        delayed = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, ends=True))
        given_back = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, ends=True))

        assert list(other.handed.indexes) == [2]
        assert (unread.wait, given_back.wait) == (timedelta(0), timedelta(0))
        assert delayed.wait is not None
        assert timedelta(seconds=50) < delayed.wait <= timedelta(minutes=1)

    async def test_a_pump_that_ends_is_told_nothing_of_what_others_have(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=3, begins=True))

        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, begins=True, ends=True))

        assert turned.wait is None

    async def test_a_later_claim_takes_back_what_an_earlier_had(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        lost = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=2, begins=True))

        again = await coordinator.turn(PumpTurn(barrier_id, PUMP, 2, want=3, begins=True))
        late = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes_of(lost)))

        assert sorted(again.handed.indexes) == [0, 1, 2]
        assert (late.refused, late.completed) == (2, 0)

    async def test_what_was_lost_twice_is_tried_alone(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        for claim in (1, 2):
            await coordinator.turn(PumpTurn(barrier_id, PUMP, claim, want=3, begins=True))

        alone = await coordinator.turn(PumpTurn(barrier_id, PUMP, 3, want=3, begins=True))

        assert len(alone.handed.indexes) == 1

    async def test_what_was_lost_twice_waits_for_a_pump_with_nothing_else(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        for claim in (1, 2):
            await coordinator.turn(PumpTurn(barrier_id, PUMP, claim, want=3, begins=True))
        await coordinator.turn(PumpTurn(barrier_id, PUMP, 3, begins=True))

        busy = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=3, held=1))
        idle = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=3))

        assert (len(busy.handed.indexes), len(idle.handed.indexes)) == (0, 1)

    async def test_an_item_that_costs_pump_after_pump_fails(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "deadly")

        for claim in range(1, 7):
            turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, claim, want=1, begins=True))
            assert len(turned.handed.indexes) == 1
        await coordinator.turn(PumpTurn(barrier_id, PUMP, 7, want=1, begins=True))

        [it] = await coordinator.gather(barrier_id, statuses=[ItemStatus.FAILED])
        assert json.loads(it.error or "")["code"] == "worker_died"
        assert (await coordinator.status(barrier_id)).state is BarrierState.FAILED

    async def test_an_item_is_tried_again_with_its_attempts(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(2))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=2, begins=True))
        failed, done = outcomes_of(turned, ItemEvent.RETRIED)[0], outcomes_of(turned)[1]

        again = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, [failed, done], want=9))
        late = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes_of(turned)[:1]))
        last = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes_of(again)))

        assert (list(again.handed.indexes), list(again.handed.attempts)) == ([0], [1])
        assert late.refused == 1
        assert (last.state, last.completed) == (BarrierState.COMPLETED, 2)
        assert (await coordinator.status(barrier_id)).retried == 1

    async def test_a_delay_is_waited_for(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, 1)
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=1, begins=True))
        [outcome] = outcomes_of(turned, ItemEvent.RETRIED)
        outcome.delay = timedelta(minutes=1)

        after = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, [outcome], want=1))

        assert after.handed.indexes == ()
        assert after.wait is not None
        assert timedelta(seconds=50) < after.wait <= timedelta(minutes=1)

    async def test_an_item_does_not_wait_with_those_of_longer_delays(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=3, begins=True))
        outcomes = outcomes_of(turned, ItemEvent.RETRIED)
        outcomes[1].delay = timedelta(minutes=1)
        outcomes[2].delay = timedelta(hours=1)

        again = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes, want=9))
        given_back = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, ends=True))

        assert list(again.handed.indexes) == [0]
        assert again.wait is not None
        assert timedelta(seconds=50) < again.wait <= timedelta(minutes=1)
        assert given_back.wait == timedelta(0)

    async def test_what_goes_back_for_later_is_waited_for_and_is_no_attempt(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(2))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=2, begins=True))
        outcomes = outcomes_of(turned, ItemEvent.RETURNED)
        outcomes[1].delay = timedelta(minutes=1)

        again = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, outcomes, want=9))

        handed = zip(again.handed.indexes, again.handed.attempts, strict=True)
        assert list(handed) == [(0, 0)]
        assert again.wait is not None
        assert timedelta(seconds=50) < again.wait <= timedelta(minutes=1)
        assert (await coordinator.status(barrier_id)).retried == 0

    async def test_of_large_items_fewer_are_handed_out_at_once(
        self, coordinator: ScatterCoordinator
    ) -> None:
        large = [f"{number}{'x' * 3_000_000}" for number in range(8)]
        barrier_id = await begun(coordinator, *large)

        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=8, begins=True))
        more = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=8, held=5))

        assert list(turned.handed.indexes) == [0, 1, 2, 3, 4]
        assert turned.wait == timedelta(0)
        assert list(more.handed.indexes) == [5, 6, 7]
        assert more.wait is None

    async def test_no_more_are_permitted_than_may_run(
        self, coordinator: ScatterCoordinator
    ) -> None:
        options = ScatterOptions(max_concurrent=4)
        barrier_id = await begun(coordinator, *range(20), options=options)

        def turn(pump_id: int, running: int = 0) -> PumpTurn:
            report = PumpTurn(barrier_id, pump_id, 1, want=9, held=running, running=running)
            report.wanted_permits = 9
            return report

        first = await coordinator.turn(turn(PUMP))
        second = await coordinator.turn(turn(OTHER))
        shared = await coordinator.turn(turn(PUMP, running=1))
        then = await coordinator.turn(turn(OTHER))

        assert (first.permits, second.permits, second.handed.indexes) == (4, 0, ())
        assert len(first.handed.indexes) <= 4
        assert (shared.permits, then.permits) == (2, 2)

    async def test_what_may_run_until_a_pump_has_heard_is_not_permitted_to_others(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(20), options=ScatterOptions(max_concurrent=4))

        async def permits(pump_id: int, running: int) -> int:
            turn = PumpTurn(barrier_id, pump_id, 1, running=running, wanted_permits=9)
            return (await coordinator.turn(turn)).permits

        assert await permits(PUMP, 0) == 4
        assert await permits(OTHER, 0) == 0
        assert await permits(PUMP, 4) == 2  # it was asked before that was said
        assert await permits(OTHER, 0) == 0
        assert await permits(PUMP, 2) == 2
        assert await permits(OTHER, 0) == 2

    async def test_a_turn_that_asks_for_no_permits_leaves_them_as_they_are(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(20), options=ScatterOptions(max_concurrent=4))

        async def permits(pump_id: int, wanted: int | None) -> int:
            turn = PumpTurn(barrier_id, pump_id, 1, wanted_permits=wanted)
            return (await coordinator.turn(turn)).permits

        assert await permits(PUMP, 3) == 3
        assert await permits(PUMP, None) == 3
        assert await permits(OTHER, 9) == 1

    async def test_an_earlier_claim_of_a_pump_has_no_permits_to_use_or_to_give_back(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(20), options=ScatterOptions(max_concurrent=4))

        async def permits(pump_id: int, claim: int, *, ends: bool = False) -> int:
            turn = PumpTurn(barrier_id, pump_id, claim, wanted_permits=9, ends=ends)
            return (await coordinator.turn(turn)).permits

        assert await permits(PUMP, 2) == 4
        assert await permits(PUMP, 1) == 0
        await permits(PUMP, 1, ends=True)
        assert await permits(OTHER, 1) == 0

    async def test_what_was_not_begun_goes_back_as_it_was(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=3, begins=True))
        returned, retried = outcomes_of(turned, ItemEvent.RETURNED)[0], outcomes_of(turned)[1]
        retried.event = ItemEvent.RETRIED

        again = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, [returned, retried], want=9))

        handed = zip(again.handed.indexes, again.handed.attempts, strict=True)
        assert sorted(handed) == [(0, 0), (1, 1)]
        assert (await coordinator.status(barrier_id)).retried == 1

    async def test_what_went_back_is_no_more_in_the_chunk_it_came_from(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(3))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=3, begins=True))
        returned = outcomes_of(turned, ItemEvent.RETURNED)[:1]

        await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, returned, ends=True))
        other = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=9, begins=True))

        assert sorted(other.handed.indexes) == [0, 1, 2]

    async def test_what_went_back_does_not_wait_with_what_is_tried_again(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, *range(2))
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=1, begins=True))
        first = outcomes_of(turned, ItemEvent.RETRIED)
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, first, want=9))
        outcomes = {it.index: it for it in outcomes_of(turned, ItemEvent.RETRIED)}
        outcomes[0].event = ItemEvent.RETURNED
        outcomes[1].delay = timedelta(hours=1)

        again = await coordinator.turn(
            PumpTurn(barrier_id, PUMP, 1, [outcomes[0], outcomes[1]], want=9)
        )

        assert list(again.handed.indexes) == [0]

    async def test_starts_are_as_far_apart_as_the_rate_says(
        self, coordinator: ScatterCoordinator
    ) -> None:
        options = ScatterOptions(rate_limit=Rate(10, timedelta(seconds=1)))
        barrier_id = await begun(coordinator, *range(100), options=options)

        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=99, begins=True))

        assert len(turned.handed.indexes) == 10
        assert turned.spacing >= timedelta(milliseconds=100)

    async def test_what_a_rate_has_given_to_one_pump_another_does_not_get(
        self, coordinator: ScatterCoordinator
    ) -> None:
        # So slow that it does not matter how long the other takes to ask.
        options = ScatterOptions(rate_limit=Rate(6, timedelta(minutes=1)))
        barrier_id = await begun(coordinator, *range(100), options=options)

        one = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=99, begins=True))
        other = await coordinator.turn(PumpTurn(barrier_id, OTHER, 1, want=99, begins=True))

        assert len(one.handed.indexes) == 1
        assert len(other.handed.indexes) == 0
        assert other.wait is not None
