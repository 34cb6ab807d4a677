"""Limits per key, and serial lanes."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.contracts.queues import LimitChanges, QueueLimits
from flowstone.core.contracts.store import Claim, Store
from flowstone.core.rate import Rate
from flowstone.testing.contracts.store_contract_jobs import ids, new_job
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    new_run,
    new_worker,
    retried,
    snoozed,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

MINUTE = timedelta(minutes=1)


def of(key: str, count: int = 1) -> list[NewJob]:
    return [NewJob(f"test.{key}", "{}", QUEUE, limit_key=key) for _ in range(count)]


def in_lane(
    lane: str, count: int = 1, *, priority: int = 0, delay: timedelta | None = None
) -> list[NewJob]:
    new = [NewJob(f"test.{lane}", "{}", QUEUE, priority, delay=delay) for _ in range(count)]
    for it in new:
        it.lane = lane
    return new


async def enqueue(store: Store, *jobs: NewJob) -> list[int]:
    return [it.job_id for it in await store.enqueue(jobs)]


def by_name(claims: Sequence[Claim]) -> Counter[str]:
    return Counter(it.asset.removeprefix("test.") for it in claims)


class KeyLimitsContract(StoreSuite):
    """What holds for each key alone."""

    async def test_no_key_runs_more_than_it_may(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running_per_key=2)
        await enqueue(store, *of("a", 5), *of("b", 1), *of("c", 3))
        first, second = await new_worker(store), await new_worker(store)

        claims = await first.claims(slots=3)
        turn = await second.turn()
        assert by_name([*claims, *turn.claims]) == {"a": 2, "b": 1, "c": 2}
        assert turn.held is not None
        [of_c] = [it for it in [*claims, *turn.claims] if it.asset == "test.c"][:1]
        owner = first if of_c in claims else second
        assert by_name((await owner.turn(succeeded(of_c))).claims) == {"c": 1}

    async def test_a_dead_worker_gives_a_keys_room_back(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running_per_key=1)
        await enqueue(store, *of("a", 2))
        dead = await new_worker(store, lease=timedelta(seconds=10))
        assert len(await dead.claims()) == 1
        await self.advance(store, timedelta(seconds=11))
        worker = await new_worker(store)
        assert await worker.claims() == []
        await store.rescue(max_rescues=3)
        assert len(await worker.claims()) == 1

    async def test_the_rate_of_a_key(self, store: Store) -> None:
        await store.limit_queue(QUEUE, rate_per_key=Rate(2, MINUTE))
        await enqueue(store, *of("a", 5), *of("b", 1))
        worker = await new_worker(store)
        claims = await worker.claims()
        assert by_name(claims) == {"a": 2, "b": 1}

        turn = await worker.turn(*(succeeded(it) for it in claims))
        assert turn.claims == []
        assert turn.held is not None
        assert timedelta(seconds=50) < turn.held <= MINUTE + timedelta(seconds=1)
        await self.advance(store, timedelta(seconds=61))
        assert by_name(await worker.claims()) == {"a": 2}

    async def test_shorter_periods_count_from_when_they_are_said(self, store: Store) -> None:
        # What starts within a year is noted by steps of hours.
        year = Rate(3, timedelta(days=365))
        for longer in (LimitChanges(rate=year), LimitChanges(rate_per_key=year)):
            await store.limit_queue(QUEUE, rate=None, rate_per_key=None)
            await store.limit_queue(QUEUE, **longer)
            await enqueue(store, *of("a", 6))
            worker = await new_worker(store)
            assert len(await worker.claims()) == 3

            await store.limit_queue(QUEUE, rate=Rate(3, MINUTE), rate_per_key=Rate(3, MINUTE))
            assert await worker.claims() == []
            await self.advance(store, 2 * MINUTE)
            assert len(await worker.claims()) == 3

    async def test_so_do_those_that_code_says(self, store: Store) -> None:
        for period in (timedelta(days=365), MINUTE):
            rate = Rate(3, period)
            await store.declare_queues({QUEUE: QueueLimits(rate=rate, rate_per_key=rate)})
            await enqueue(store, *of("a", 3))
            worker = await new_worker(store)
            assert len(await worker.claims()) == (3 if period > MINUTE else 0)

        await self.advance(store, 2 * MINUTE)
        assert len(await worker.claims()) == 3

    async def test_the_limits_of_the_queue_hold_too(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running=3, max_running_per_key=2)
        await enqueue(store, *of("a", 5), *of("b", 5))
        assert len(await (await new_worker(store)).claims()) == 3

    async def test_keys_are_served_in_turn(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running_per_key=100)
        await enqueue(store, *of("a", 300), *of("b", 2), *of("c", 2))
        worker = await new_worker(store)
        served: Counter[str] = Counter()
        for _ in range(6):
            served += by_name(await worker.claims(slots=1))
        assert served == {"a": 2, "b": 2, "c": 2}

    async def test_one_without_room_lets_others_pass(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running_per_key=1)
        await enqueue(store, *of("a", 1000))
        worker = await new_worker(store)
        assert by_name(await worker.claims()) == {"a": 1}
        await enqueue(store, *of("b"), *of("z"))
        assert by_name(await worker.claims()) == {"b": 1, "z": 1}

    async def test_those_without_a_key_have_none_of_it(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running_per_key=1)
        await enqueue(store, *of("a", 5), *(new_job("plain") for _ in range(5)))
        run = await new_run(store, {"asset": []})
        claims = await (await new_worker(store)).claims()
        assert by_name(claims) == {"a": 1, "plain": 5, "asset": 1}
        assert run["asset"] in ids(claims)

    async def test_neither_kind_starves_the_other(self, store: Store) -> None:
        await enqueue(store, *of("a", 50), *(new_job("plain") for _ in range(50)))
        worker = await new_worker(store)
        served = by_name(await worker.claims(slots=10))
        assert served == {"a": 5, "plain": 5}

    async def test_a_timed_one_waits_for_its_time(self, store: Store) -> None:
        [job] = of("a")
        job.delay = MINUTE
        [job_id] = await enqueue(store, job)
        worker = await new_worker(store)
        turn = await worker.turn()
        assert turn.claims == []
        assert turn.next_due is not None
        assert timedelta(seconds=50) < turn.next_due <= MINUTE
        await self.advance(store, MINUTE)
        assert ids(await worker.claims()) == [job_id]

    async def test_one_that_is_cancelled_never_runs(self, store: Store) -> None:
        [first, second] = await enqueue(store, *of("a"), *in_lane("l"))
        assert await store.cancel_jobs([first, second]) == 2
        assert await (await new_worker(store)).claims() == []

    async def test_a_pause_holds_for_them(self, store: Store) -> None:
        await enqueue(store, *of("a"), *in_lane("l"))
        await store.pause_queue(QUEUE)
        worker = await new_worker(store)
        assert await worker.claims() == []
        await store.resume_queue(QUEUE)
        assert len(await worker.claims()) == 2


class LanesContract(StoreSuite):
    """One of a lane at a time, in order."""

    async def test_the_next_one_comes_when_the_first_has_ended(self, store: Store) -> None:
        lane = await enqueue(store, *in_lane("l", 3))
        worker, other = await new_worker(store), await new_worker(store)
        for job_id in lane:
            [claim] = await worker.claims()
            assert claim.id == job_id
            assert await other.claims() == []
            await worker.settle(succeeded(claim))
        assert await worker.claims() == []

    async def test_the_turn_that_settles_one_brings_the_next(self, store: Store) -> None:
        first, second = await enqueue(store, *in_lane("l", 2))
        worker = await new_worker(store)
        [claim] = await worker.claims()
        assert claim.id == first
        assert ids((await worker.turn(succeeded(claim))).claims) == [second]

    async def test_lanes_do_not_wait_for_one_another(self, store: Store) -> None:
        await enqueue(store, *in_lane("a", 3), *in_lane("b", 3), *(new_job("plain"),) * 2)
        claims = await (await new_worker(store)).claims()
        assert by_name(claims) == {"a": 1, "b": 1, "plain": 2}

    async def test_a_retry_keeps_its_place(self, store: Store) -> None:
        first, second = await enqueue(store, *in_lane("l", 2))
        worker = await new_worker(store)
        for settlement in (retried, snoozed):
            [claim] = await worker.claims()
            assert claim.id == first
            turn = await worker.turn(settlement(claim, MINUTE))
            assert turn.claims == []
            await self.advance(store, timedelta(seconds=61))
        [claim] = await worker.claims()
        assert claim.id == first
        assert ids((await worker.turn(succeeded(claim))).claims) == [second]

    async def test_one_for_tomorrow_holds_nobody_up(self, store: Store) -> None:
        await enqueue(store, *in_lane("l", delay=timedelta(days=1)))
        [now_due] = await enqueue(store, *in_lane("l"))
        assert ids(await (await new_worker(store)).claims()) == [now_due]

    async def test_the_higher_priority_goes_first(self, store: Store) -> None:
        first = await enqueue(store, *in_lane("l"))
        urgent = await enqueue(store, *in_lane("l", priority=5))
        worker = await new_worker(store)
        [claim] = await worker.claims()
        assert [claim.id] == urgent
        assert ids((await worker.turn(succeeded(claim))).claims) == first

    async def test_a_dead_workers_place_is_kept_and_its_lane_goes_on(self, store: Store) -> None:
        first, second = await enqueue(store, *in_lane("l", 2))
        dead = await new_worker(store, lease=timedelta(seconds=10))
        assert ids(await dead.claims()) == [first]
        await self.advance(store, timedelta(seconds=11))
        await store.rescue(max_rescues=3)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        assert claim.id == first
        assert ids((await worker.turn(succeeded(claim))).claims) == [second]

    async def test_many_that_wait_for_retries_do_not_hide_a_free_one(self, store: Store) -> None:
        await enqueue(store, *(it for number in range(150) for it in in_lane(f"l{number:03}", 2)))
        worker = await new_worker(store)
        claims = await worker.claims(slots=150)
        assert len(claims) == 150
        await worker.settle(*(retried(it, timedelta(hours=1)) for it in claims))
        [free] = await enqueue(store, *in_lane("z"))

        found: list[int] = []
        for _ in range(5):
            found += ids(await worker.claims(slots=1))
        assert found == [free]

    async def test_a_lane_within_a_limited_key(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running_per_key=2)
        jobs = [*in_lane("x", 2), *in_lane("y", 2), *in_lane("z", 2)]
        for it in jobs:
            it.limit_key = "tenant"
        await enqueue(store, *jobs)
        assert by_name(await (await new_worker(store)).claims()) == {"x": 1, "y": 1}


class KeysContract(KeyLimitsContract, LanesContract):
    """All of it."""
