"""Waits that time out, and attempts that go on after a wait and are lost."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.outcome import Wake
from flowstone.core.status import Status
from flowstone.testing.contracts.store_runs import (
    SettleLater,
    SmallRun,
    Worker,
    begun,
    handed_back,
    new_worker,
    retried,
    row,
    snoozed,
    statuses,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=30)


class DeadlineContract(StoreSuite):
    """A wait with a deadline goes on without a wake-up."""

    async def test_nothing_happens_before(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, timeout=HOUR))
        await worker.claims()

        await self.advance(store, timedelta(minutes=59))

        assert await worker.claims() == []
        assert (await statuses(store, run))["a"] is Status.WAITING

    async def test_then_it_goes_on_as_timed_out(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, "approval", state="3", timeout=HOUR))
        await worker.claims()
        await self.advance(store, timedelta(minutes=61))

        (resumed,) = await worker.claims()

        assert resumed.id == run["a"]
        assert resumed.wake == Wake("approval", 3, None, timed_out=True)
        assert resumed.attempt == 1
        assert (await row(store, run, "a")).waiting_on is None

    async def test_run_scoped_workers_see_deadlines_too(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, timeout=HOUR))
        await worker.claims(run=run)
        await self.advance(store, timedelta(minutes=61))

        assert list(await worker.claim(run=run)) == ["a"]

    async def test_no_time_at_all_is_a_deadline(self, store: Store) -> None:
        worker, _, claim = await begun(store)
        await worker.settle(waited(claim, timeout=timedelta(0)))

        resumed = (await worker.claim())["a"]

        assert resumed.wake == Wake("approval", None, None, timed_out=True)

    async def test_a_wake_up_before_it_counts(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, timeout=HOUR))
        await store.wake(run["a"], '"in time"')
        await self.advance(store, 2 * HOUR)

        resumed = (await worker.claim())["a"]

        assert resumed.wake == Wake("approval", None, "in time", timed_out=False)
        assert await worker.claims() == []

    async def test_a_wake_up_after_it_counts_while_nobody_went_on(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, timeout=HOUR))
        await self.advance(store, 2 * HOUR)

        is_awake = await store.wake(run["a"], '"late"')

        assert is_awake
        assert (await worker.claim())["a"].wake == Wake("approval", None, "late", timed_out=False)

    async def test_the_deadline_of_an_earlier_wait_is_forgotten(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, timeout=HOUR))
        await store.wake(run["a"], "1")
        resumed = (await worker.claim())["a"]
        await worker.settle(waited(resumed))

        await self.advance(store, 2 * HOUR)

        assert await worker.claims() == []


class LostResumeContract(StoreSuite):
    """An attempt that goes on may be lost like any other; the next one has the same wake-up."""

    @pytest.mark.parametrize("settle", [retried, snoozed, handed_back])
    async def test_after_a_return_the_wake_up_comes_again(
        self, store: Store, settle: SettleLater
    ) -> None:
        worker, _, resumed = await resumed_with(store, '"yes"')

        await worker.settle(settle(resumed, HOUR))
        await self.advance(store, 2 * HOUR)

        assert (await worker.claim())["a"].wake == resumed.wake

    async def test_after_a_rescue_the_wake_up_comes_again(self, store: Store) -> None:
        _, _, resumed = await resumed_with(store, '"yes"')
        await self.advance(store, HOUR)
        await store.rescue(max_rescues=3)

        again = await (await new_worker(store)).claim()

        assert again["a"].wake == resumed.wake
        assert again["a"].claim > resumed.claim

    async def test_a_time_out_comes_again_too(self, store: Store) -> None:
        worker, _, claim = await begun(store)
        await worker.settle(waited(claim, timeout=HOUR))
        await self.advance(store, 2 * HOUR)
        timed_out = (await worker.claim())["a"]

        await worker.settle(retried(timed_out))

        again = (await worker.claim())["a"]
        assert again.wake == Wake("approval", None, None, timed_out=True)
        assert again.attempt == 2

    async def test_it_comes_again_as_often_as_it_is_lost(self, store: Store) -> None:
        worker, _, resumed = await resumed_with(store, '"yes"')

        claim = resumed
        for _ in range(3):
            await worker.settle(retried(claim))
            claim = (await worker.claim())["a"]

        assert claim.wake == resumed.wake
        assert claim.attempt == resumed.attempt + 3

    async def test_a_repeated_resume_may_wait_anew(self, store: Store) -> None:
        worker, run, resumed = await resumed_with(store, '"yes"')
        await worker.settle(retried(resumed))
        again = (await worker.claim())["a"]

        await worker.settle(waited(again, "signal"))

        record = await row(store, run, "a")
        assert (record.status, record.waiting_on) == (Status.WAITING, "signal")
        assert await worker.claims() == []


async def resumed_with(store: Store, text: str) -> tuple[Worker, SmallRun, Claim]:
    """Return a run whose ``a`` has waited, was woken and is claimed anew."""
    worker, run, claim = await begun(store)
    await worker.settle(waited(claim))
    await store.wake(run["a"], text)
    claims = await worker.claim()
    return worker, run, claims["a"]
