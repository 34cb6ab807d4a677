"""Unique jobs: one holder of each key, until its end or that of its window."""

import pytest

from flowstone.core.contracts.job_queue import Enqueued, NewJob
from flowstone.core.contracts.store import Store
from flowstone.core.status import Status
from flowstone.core.unique_key import JobState
from flowstone.testing.contracts.store_contract_jobs import ids
from flowstone.testing.contracts.store_contract_unique_conflict import (
    RaiseContract,
    ReplaceContract,
)
from flowstone.testing.contracts.store_contract_unique_return import ComingBackContract
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    Settle,
    SettleLater,
    new_worker,
    retried,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite
from flowstone.testing.contracts.store_unique_jobs import (
    ALL,
    BACK,
    ENDS,
    LEASE,
    MINUTE,
    OPEN,
    WAITING,
    created,
    enqueue,
    lose,
    status,
    unique_job,
)


class KeepingOthersOutContract(StoreSuite):
    """While a job holds its key, no other that has it is enqueued."""

    async def test_a_repeat_gives_the_first_one(self, store: Store) -> None:
        first = await created(store, unique_job(arguments='{"n": 1}'))

        assert await enqueue(store, unique_job(arguments='{"n": 2}')) == Enqueued(
            first, created=False
        )
        [claim] = await (await new_worker(store)).claims()
        assert (claim.id, claim.arguments) == (first, '{"n": 1}')

    async def test_another_key_is_another_job(self, store: Store) -> None:
        first = await created(store, unique_job("a"))
        assert await created(store, unique_job("b")) != first

    async def test_one_without_a_key_is_never_kept_out(self, store: Store) -> None:
        await created(store, unique_job())
        plain = NewJob("test.sync", "{}", QUEUE)
        assert [it.created for it in await store.enqueue([plain, plain])] == [True, True]

    async def test_it_is_kept_out_while_the_first_one_runs(self, store: Store) -> None:
        first = await created(store, unique_job())
        await (await new_worker(store)).claims()
        assert await enqueue(store, unique_job()) == Enqueued(first, created=False)

    async def test_a_batch_is_as_if_enqueued_one_after_the_other(self, store: Store) -> None:
        held = await created(store, unique_job("held"))
        plain = NewJob("test.plain", "{}", QUEUE)
        keys = ["b", "a", "held", "b", "a", "c"]
        batch = [unique_job(key, arguments=f'"{place}"') for place, key in enumerate(keys)]
        b, a, found, b_again, a_again, c, other = await store.enqueue([*batch, plain])

        assert [it.created for it in (b, a, c, other)] == [True] * 4
        assert found == Enqueued(held, created=False)
        assert (b_again, a_again) == (
            Enqueued(b.job_id, created=False),
            Enqueued(a.job_id, created=False),
        )
        claims = await (await new_worker(store)).claims()
        assert [(it.id, it.arguments) for it in claims] == [
            (held, "{}"),
            (b.job_id, '"0"'),
            (a.job_id, '"1"'),
            (c.job_id, '"5"'),
            (other.job_id, "{}"),
        ]

    async def test_a_thousand_are_enqueued_once(self, store: Store) -> None:
        batch = [unique_job(f"k{number % 1000:03}") for number in range(2000)]
        first = await store.enqueue(batch)
        again = await store.enqueue(list(reversed(batch)))

        assert sum(it.created for it in first) == 1000
        assert not any(it.created for it in again)
        assert [it.job_id for it in reversed(again)] == [it.job_id for it in first]
        assert len(await (await new_worker(store)).claims(3000)) == 1000


class LettingGoContract(StoreSuite):
    """A key is free as soon as its job is in none of the states that it covers."""

    @pytest.mark.parametrize(("end", "state"), ENDS)
    async def test_its_end_frees_the_key(self, store: Store, end: Settle, state: JobState) -> None:
        first = await created(store, unique_job())
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(end(claim))
        assert await created(store, unique_job()) != first

    @pytest.mark.parametrize(("end", "state"), ENDS)
    async def test_an_end_that_is_covered_does_not(
        self, store: Store, end: Settle, state: JobState
    ) -> None:
        first = await created(store, unique_job(states=OPEN | {state}))
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(end(claim))
        assert await enqueue(store, unique_job(states=OPEN | {state})) == Enqueued(
            first, created=False
        )

    async def test_a_cancel_frees_the_key(self, store: Store) -> None:
        first = await created(store, unique_job(delay=MINUTE))
        await store.cancel_jobs([first])
        assert await created(store, unique_job()) != first

    async def test_a_cancel_while_it_runs_frees_it_when_it_has_ended(self, store: Store) -> None:
        first = await created(store, unique_job())
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await store.cancel_jobs([first])
        assert await enqueue(store, unique_job()) == Enqueued(first, created=False)

        await worker.settle(retried(claim))
        assert await status(store, first) is Status.CANCELLED
        assert await created(store, unique_job()) != first

    async def test_a_job_that_is_set_aside_frees_the_key(self, store: Store) -> None:
        first = await created(store, unique_job())
        await lose(self, store, first, max_rescues=0)
        assert await status(store, first) is Status.FAILED
        assert await created(store, unique_job()) != first

    async def test_a_claim_frees_a_key_that_only_covers_waiting(self, store: Store) -> None:
        first = await created(store, unique_job(states=WAITING))
        worker = await new_worker(store)
        [claim] = await worker.claims()
        second = await created(store, unique_job(states=WAITING))

        await worker.settle(succeeded(claim))
        assert await enqueue(store, unique_job(states=WAITING)) == Enqueued(second, created=False)
        assert await status(store, first) is Status.SUCCEEDED

    async def test_a_late_worker_frees_nothing(self, store: Store) -> None:
        first = await created(store, unique_job())
        late = await new_worker(store, lease=LEASE)
        [lost] = await late.claims()
        await self.advance(store, 2 * LEASE)
        await store.rescue(max_rescues=3)

        worker = await new_worker(store)
        assert await worker.settle(succeeded(lost)) == [first]
        assert await enqueue(store, unique_job()) == Enqueued(first, created=False)


class WindowContract(StoreSuite):
    """A window ends the holding of a key, whatever its job does."""

    async def test_within_it_others_are_kept_out(self, store: Store) -> None:
        first = await created(store, unique_job(states=ALL, within=5 * MINUTE))
        worker = await new_worker(store)
        await worker.settle(*map(succeeded, await worker.claims()))

        await self.advance(store, 4 * MINUTE)
        again = await enqueue(store, unique_job(states=ALL, within=5 * MINUTE))
        assert again == Enqueued(first, created=False)

    async def test_after_it_the_next_one_has_a_window_of_its_own(self, store: Store) -> None:
        new = unique_job(states=ALL, within=5 * MINUTE)
        first = await created(store, new)
        worker = await new_worker(store)
        await worker.settle(*map(succeeded, await worker.claims()))

        await self.advance(store, 5 * MINUTE)
        second = await created(store, new)
        await self.advance(store, 4 * MINUTE)
        assert await enqueue(store, new) == Enqueued(second, created=False)
        assert first != second

    async def test_after_it_one_that_still_waits_keeps_nobody_out(self, store: Store) -> None:
        new = unique_job(within=5 * MINUTE, delay=8 * MINUTE)
        first = await created(store, new)
        await self.advance(store, 5 * MINUTE)
        second = await created(store, new)
        assert await enqueue(store, new) == Enqueued(second, created=False)

        # The first one runs and ends, and that is no business of the second one.
        await self.advance(store, 4 * MINUTE)
        worker = await new_worker(store)
        claims = await worker.claims()
        assert ids(claims) == [first]
        await worker.settle(*map(succeeded, claims))
        assert await enqueue(store, new) == Enqueued(second, created=False)

    @pytest.mark.parametrize("back", BACK)
    async def test_after_it_one_that_comes_back_is_not_superseded(
        self, store: Store, back: SettleLater
    ) -> None:
        new = unique_job(within=5 * MINUTE, states=WAITING)
        first = await created(store, new)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await self.advance(store, 5 * MINUTE)
        await created(store, new)

        await worker.settle(back(claim, None))
        assert await status(store, first) is Status.READY

    async def test_a_batch_takes_over_what_has_expired(self, store: Store) -> None:
        batch = [unique_job(f"k{number}", within=5 * MINUTE) for number in range(50)]
        first = await store.enqueue(batch)
        await self.advance(store, 5 * MINUTE)
        second = await store.enqueue(batch)

        assert all(it.created for it in second)
        assert not {it.job_id for it in first} & {it.job_id for it in second}
        assert not any(it.created for it in await store.enqueue(batch))


class UniqueJobsContract(
    KeepingOthersOutContract,
    LettingGoContract,
    WindowContract,
    ComingBackContract,
    ReplaceContract,
    RaiseContract,
):
    """All of it."""
