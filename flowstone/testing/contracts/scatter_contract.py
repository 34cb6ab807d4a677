"""
What every coordinator of scatters has to do, as tests.

Who writes one runs them over it. Nothing but the contract is called.
"""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from flowstone.core.rate import Rate
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import BarrierNotFoundError, ItemNotFoundError
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import (
    BarrierState,
    ItemStatus,
    NewBarrier,
    Progress,
    PumpTurn,
)
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.scatter_barriers import (
    PARTIAL,
    PUMP,
    an_item,
    begun,
    outcomes_of,
)
from flowstone.testing.contracts.scatter_contract_pumps import PumpsContract


class ScatterContract(PumpsContract):
    """Subclass it with the fixture ``coordinator``, open and over an empty store."""

    @pytest.fixture
    async def coordinator(self) -> ScatterCoordinator:
        """Give the coordinator."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `coordinator`")

    @answers(210, 225)
    async def test_items_with_the_same_key_are_one(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, {"k": 1}, {"k": 2}, {"k": 1}, closes=False)

        status = await coordinator.status(barrier_id)
        pending = await coordinator.gather(barrier_id, statuses=[ItemStatus.PENDING])

        assert (status.total, status.state, status.pending) == (2, BarrierState.EXECUTING, 2)
        assert [json.loads(it.key) for it in pending] == [{"k": 1}, {"k": 2}]

    async def test_a_page_that_is_inserted_twice_is_one(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, 1, 2, closes=False)

        again = await coordinator.insert(barrier_id, [an_item(2), an_item(3)], closes=True)

        assert (again.count, again.total) == (1, 3)

    async def test_creating_it_again_changes_nothing(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, 1)

        repeated = NewBarrier(barrier_id, 1, "sales.items", "", PARTIAL)
        assert not await coordinator.create(repeated)
        assert (await coordinator.status(barrier_id)).options == ScatterOptions()

    @answers(211)
    async def test_its_options_come_back(self, coordinator: ScatterCoordinator) -> None:
        options = ScatterOptions(
            max_concurrent=50, failure_threshold=0.1, rate_limit=Rate(10, timedelta(seconds=1))
        )

        barrier_id = await begun(coordinator, 1, options=options)

        assert (await coordinator.status(barrier_id)).options == options

    @answers(212)
    async def test_the_last_result_completes_it(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, "a", "b")

        first = await coordinator.complete(barrier_id, "a", "1")
        assert (await coordinator.status(barrier_id)).completed == 1
        second = await coordinator.complete(barrier_id, "b", "2")

        assert (first, second) == (Progress.PENDING, Progress.COMPLETE)
        assert (await coordinator.status(barrier_id)).state is BarrierState.COMPLETED

    async def test_completing_an_item_twice_counts_once(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "a", "b")

        await coordinator.complete(barrier_id, "a", "1")
        await coordinator.complete(barrier_id, "a", "2")
        await coordinator.fail(barrier_id, "a", "{}")

        status = await coordinator.status(barrier_id)
        [kept] = await coordinator.gather(barrier_id)
        assert (status.completed, status.failed, kept.result) == (1, 0, "1")

    @answers(213, 216)
    async def test_a_rate_equal_to_the_threshold_is_tolerated(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "a", "b", options=PARTIAL)

        first = await coordinator.fail(barrier_id, "a", '{"message": "error message"}')
        second = await coordinator.complete(barrier_id, "b", "1")

        assert (first, second) == (Progress.PENDING, Progress.COMPLETE)
        assert (await coordinator.status(barrier_id)).state is BarrierState.PARTIAL_FAILURE

    @answers(215)
    async def test_it_does_not_matter_which_of_them_fails(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "a", "b", options=PARTIAL)

        first = await coordinator.complete(barrier_id, "a", "1")
        second = await coordinator.fail(barrier_id, "b", "{}")

        assert (first, second) == (Progress.PENDING, Progress.COMPLETE)
        assert (await coordinator.status(barrier_id)).state is BarrierState.PARTIAL_FAILURE

    @answers(214)
    async def test_one_failure_ends_all_or_nothing(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, "a", "b")

        assert await coordinator.fail(barrier_id, "a", "{}") is Progress.THRESHOLD_EXCEEDED
        assert (await coordinator.status(barrier_id)).state is BarrierState.FAILED

    @answers(217)
    async def test_more_failures_than_tolerated_end_it_at_once(
        self, coordinator: ScatterCoordinator
    ) -> None:
        options = ScatterOptions(failure_mode="partial", failure_threshold=0.02)
        barrier_id = await begun(coordinator, *range(100), options=options)

        seen = [await coordinator.fail(barrier_id, key, "{}") for key in range(3)]

        assert seen == [Progress.PENDING, Progress.PENDING, Progress.THRESHOLD_EXCEEDED]

    async def test_of_a_part_of_the_items_no_rate_is_judged(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "a", options=PARTIAL, closes=False)

        assert await coordinator.fail(barrier_id, "a", "{}") is Progress.PENDING
        inserted = await coordinator.insert(barrier_id, [an_item("b")], closes=True)

        assert inserted.state is BarrierState.EXECUTING

    async def test_what_has_ended_stays_as_it_is(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, "a", "b")
        await coordinator.fail(barrier_id, "a", "{}")

        late = await coordinator.complete(barrier_id, "b", "1")
        inserted = await coordinator.insert(barrier_id, [an_item("c")])

        status = await coordinator.status(barrier_id)
        assert late is Progress.THRESHOLD_EXCEEDED
        assert (inserted.count, inserted.state) == (0, BarrierState.FAILED)
        assert (status.total, status.completed, status.state) == (2, 0, BarrierState.FAILED)
        assert not await coordinator.cancel(barrier_id)

    async def test_without_items_it_completes_at_once(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator)

        status = await coordinator.status(barrier_id)

        assert status.state is BarrierState.COMPLETED
        assert (status.progress, status.failure_rate) == (0.0, 0.0)

    async def test_it_does_not_complete_before_its_reader(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "a", closes=False)

        assert await coordinator.complete(barrier_id, "a", "1") is Progress.PENDING
        closed = await coordinator.insert(barrier_id, [], closes=True)

        assert closed.state is BarrierState.COMPLETED

    @answers(223)
    async def test_nothing_is_settled_after_it_was_cancelled(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, "a", "b")
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=1, begins=True))

        assert await coordinator.cancel(barrier_id)
        after = await coordinator.turn(
            PumpTurn(barrier_id, PUMP, 1, outcomes_of(turned), want=1, held=1)
        )

        assert (after.state, after.refused, after.handed.indexes) == (BarrierState.CANCELLED, 1, ())
        assert (await coordinator.status(barrier_id)).completed == 0

    @answers(226)
    async def test_what_is_not_there_is_told_of(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, "a")

        with pytest.raises(BarrierNotFoundError):
            await coordinator.status(404)
        with pytest.raises(BarrierNotFoundError):
            await coordinator.turn(PumpTurn(404, PUMP, 1, want=1))
        with pytest.raises(ItemNotFoundError):
            await coordinator.complete(barrier_id, "b", "1")

    @answers(218, 229)
    async def test_only_completed_items_are_gathered(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, "a", "b", "c", options=PARTIAL)
        await coordinator.complete(barrier_id, "c", '{"n": [1, null]}')
        await coordinator.fail(barrier_id, "a", "{}")

        [it] = await coordinator.gather(barrier_id)

        assert (json.loads(it.key), json.loads(it.result or "")) == ("c", {"n": [1, None]})

    @answers(224)
    async def test_results_come_back_as_they_were_however_large(
        self, coordinator: ScatterCoordinator
    ) -> None:
        nested = {"rows": [{"n": number, "text": "é" * 20} for number in range(5000)], "none": None}
        barrier_id = await begun(coordinator, "a", "b", "c")
        turned = await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, want=1, begins=True))
        [outcome] = outcomes_of(turned)

        large = replace(outcome, result=json.dumps(nested))
        await coordinator.turn(PumpTurn(barrier_id, PUMP, 1, [large], held=1))
        await coordinator.complete(barrier_id, "b", "null")
        await coordinator.complete(barrier_id, "c", json.dumps(nested))

        found = await coordinator.gather(barrier_id)
        assert [json.loads(it.result or "") for it in found] == [nested, None, nested]

    async def test_gathering_goes_page_by_page(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, *range(5))
        for key in (4, 0, 2, 3):
            await coordinator.complete(barrier_id, key, str(key))

        first = await coordinator.gather(barrier_id, limit=3)
        rest = await coordinator.gather(barrier_id, after=first[-1].index, limit=3)

        assert [[it.result for it in page] for page in (first, rest)] == [["0", "2", "3"], ["4"]]

    @answers(219)
    async def test_status_counts_what_is_pending(self, coordinator: ScatterCoordinator) -> None:
        barrier_id = await begun(coordinator, 1, 2, 3)
        await coordinator.complete(barrier_id, 1, "1")

        status = await coordinator.status(barrier_id)

        assert (status.total, status.completed, status.failed, status.pending) == (3, 1, 0, 2)

    async def test_pages_of_an_earlier_reader_are_refused(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, closes=False)
        await coordinator.feed(barrier_id, claim=1)
        await coordinator.insert(barrier_id, [an_item(1)], claim=1, progress='{"at": 1}')

        feed = await coordinator.feed(barrier_id, claim=2)
        late = await coordinator.insert(barrier_id, [an_item(2)], claim=1, progress='{"at": 2}')

        assert feed is not None
        assert json.loads(feed.progress or "") == {"at": 1}
        assert (late.is_superseded, late.count) == (True, 0)
        assert await coordinator.feed(barrier_id, claim=1) is None

    async def test_it_can_fail_with_an_error_of_its_reader(
        self, coordinator: ScatterCoordinator
    ) -> None:
        barrier_id = await begun(coordinator, 1, closes=False)

        assert await coordinator.end(barrier_id, BarrierState.FAILED, error='{"message": "boom"}')

        status = await coordinator.status(barrier_id)
        assert status.state is BarrierState.FAILED
        assert json.loads(status.error or "") == {"message": "boom"}
