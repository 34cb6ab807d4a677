"""Limits of the application: slots that running attempts hold, rates over the last period."""

import time
from datetime import timedelta

import pytest

from flowstone.core.contracts.limits import LimitRecord, LimitValues
from flowstone.core.contracts.store import Claim, Store
from flowstone.core.errors import UnknownLimitError
from flowstone.core.rate import Rate, parse
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import Worker, new_worker, retried, succeeded
from flowstone.testing.contracts.store_suite import StoreSuite

API = "shop-api"


async def said(
    store: Store, *, slots: int | None = None, rate: str | None = None, by_code: bool = False
) -> None:
    values = LimitValues(slots, None if rate is None else parse(rate))
    await store.set_limits({API: values}, by_code=by_code)


async def limit(store: Store) -> LimitRecord:
    [record] = await store.limits(API)
    return record


async def attempts(store: Store, count: int) -> tuple[Worker, list[Claim]]:
    """Return a worker that is at so many jobs."""
    await enqueued(store, *[new_job()] * count)
    worker = await new_worker(store, lease=timedelta(seconds=10))
    return worker, await worker.claims()


async def took(store: Store, claim: Claim | None) -> bool:
    holder = None if claim is None else (claim.id, claim.claim)
    return (await store.take_limit(API, holder)).wait is None


class SlotsContract(StoreSuite):
    """A slot is held by an attempt, for as long as that runs."""

    @answers(430)
    async def test_there_are_so_many_and_one_given_back_is_free_again(self, store: Store) -> None:
        await said(store, slots=2)
        _, (a, b, c) = await attempts(store, 3)

        first = await store.take_limit(API, (a.id, a.claim))
        assert first.slot_id is not None
        assert await took(store, b)
        assert not await took(store, c)
        assert await store.give_back_slot(API, first.slot_id)
        assert not await store.give_back_slot(API, first.slot_id)
        assert await took(store, c)
        assert (await limit(store)).taken == 2

    async def test_one_that_is_waited_for_is_published(self, store: Store) -> None:
        await said(store, slots=1)
        _, (a, b) = await attempts(store, 2)
        taken = await store.take_limit(API, (a.id, a.claim))
        assert not await took(store, b)
        assert taken.slot_id is not None
        await store.listen()

        with store.wakeups.watch([f"limit:{API}"]) as watch:
            watch.take()
            await store.give_back_slot(API, taken.slot_id)
            heard: set[str] = set()
            while f"limit:{API}" not in heard:
                heard = await watch.wait(10.0)
                assert heard, "nothing was published"

    async def test_one_attempt_may_hold_several(self, store: Store) -> None:
        await said(store, slots=2)
        _, (a,) = await attempts(store, 1)
        assert [await took(store, a) for _ in range(3)] == [True, True, False]

    async def test_what_has_ended_holds_none(self, store: Store) -> None:
        await said(store, slots=1)
        worker, (a, b) = await attempts(store, 2)
        assert await took(store, a)
        await worker.settle(succeeded(a))

        assert (await limit(store)).taken == 0
        assert await took(store, b)

    async def test_nor_does_an_attempt_that_is_followed_by_another(self, store: Store) -> None:
        await said(store, slots=1)
        worker, (a,) = await attempts(store, 1)
        assert await took(store, a)
        await worker.settle(retried(a))
        [again] = await worker.claims()

        assert again.id == a.id
        assert await took(store, again)

    async def test_nor_does_one_whose_worker_died(self, store: Store) -> None:
        await said(store, slots=1)
        _, (a, b) = await attempts(store, 2)
        assert await took(store, a)
        await self.advance(store, timedelta(seconds=11))
        await store.rescue(max_rescues=5)

        [first, *_] = await (await new_worker(store)).claims()
        assert await took(store, first)
        assert not await took(store, b)


class RateContract(StoreSuite):
    """Never more than the rate within any period."""

    @answers(425, 426)
    async def test_it_lets_so_many_through_and_says_how_long_to_wait(self, store: Store) -> None:
        await said(store, rate="5/m")
        assert [await took(store, None) for _ in range(5)] == [True] * 5

        wait = (await store.take_limit(API, None)).wait
        assert wait is not None
        assert timedelta(seconds=50) < wait <= timedelta(minutes=1, seconds=1)

    async def test_the_wait_is_enough(self, store: Store) -> None:
        await said(store, rate="2/m")
        assert await took(store, None)
        await self.advance(store, timedelta(seconds=30))
        assert await took(store, None)
        wait = (await store.take_limit(API, None)).wait
        assert wait is not None
        assert wait < timedelta(seconds=32)

        await self.advance(store, wait)
        assert [await took(store, None) for _ in range(2)] == [True, False]

    @answers(428)
    async def test_its_state_can_be_asked(self, store: Store) -> None:
        await said(store, rate="10/h")
        for _ in range(2):
            assert await took(store, None)

        record = await limit(store)
        assert (record.values.rate, record.used) == (Rate(10, timedelta(hours=1)), 2)
        assert (record.remaining, record.utilization) == (8, 20.0)

    @answers(429)
    async def test_a_reset_forgets_what_was_used_and_taken(self, store: Store) -> None:
        await said(store, slots=1, rate="1/h")
        _, (a, b) = await attempts(store, 2)
        assert await took(store, a)
        assert not await took(store, b)

        assert await store.reset_limit(API)
        assert await took(store, b)
        assert not await store.reset_limit("unknown")

    @answers(431)
    async def test_a_period_is_as_long_as_it_says(self, store: Store) -> None:
        for rate, seconds in (("1/s", 1), ("60/m", 60), ("1/h", 3600)):
            await said(store, rate=rate)
            await store.reset_limit(API)
            count = parse(rate).count
            began = time.monotonic()
            assert [await took(store, None) for _ in range(count)] == [True] * count
            wait = (await store.take_limit(API, None)).wait
            # Of a second, much may be over on a busy machine.
            left = seconds * 0.99 - (time.monotonic() - began)
            assert left < (wait or timedelta()).total_seconds() <= seconds * 1.01 + 0.01

    async def test_a_shorter_period_counts_from_when_it_is_said(self, store: Store) -> None:
        await said(store, rate="2/52w")
        assert [await took(store, None) for _ in range(3)] == [True, True, False]

        await said(store, rate="2/m")
        assert not await took(store, None)
        await self.advance(store, timedelta(minutes=2))
        assert [await took(store, None) for _ in range(3)] == [True, True, False]

    async def test_a_slot_that_is_not_to_be_had_uses_nothing(self, store: Store) -> None:
        await said(store, slots=1, rate="2/h")
        _, (a, b) = await attempts(store, 2)
        assert await took(store, a)
        assert not await took(store, b)
        assert (await limit(store)).used == 1


class SettingLimitsContract(StoreSuite):
    """What is said at run time wins over the code."""

    async def test_what_was_said_at_run_time_is_not_changed_by_code(self, store: Store) -> None:
        await said(store, slots=1, by_code=True)
        await said(store, slots=3, by_code=True)
        assert (await limit(store)).values.slots == 3
        await said(store, slots=7)
        await said(store, slots=1, by_code=True)

        assert (await limit(store)).values.slots == 7
        assert (await limit(store)).is_by_hand

    async def test_one_that_nobody_has_said_is_unknown(self, store: Store) -> None:
        with pytest.raises(UnknownLimitError, match="limit 'shop-api' does not exist"):
            await store.take_limit(API, None)
        assert await store.limits(API) == []
        assert await store.limits() == []

    async def test_one_that_was_removed_is_unknown(self, store: Store) -> None:
        await said(store, slots=1)
        assert await store.remove_limit(API)
        assert not await store.remove_limit(API)
        with pytest.raises(UnknownLimitError):
            await store.take_limit(API, None)


class LimitsContract(SlotsContract, RateContract, SettingLimitsContract):
    """All of it."""
