"""Unique jobs that are to be done again: each finds its key, or finds it taken."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.job_queue import Enqueued, JobChange, JobSelection
from flowstone.core.contracts.store import Store
from flowstone.core.retention import Retention
from flowstone.core.status import Status
from flowstone.core.unique_key import JobState
from flowstone.testing.contracts.store_contract_jobs import ids, job
from flowstone.testing.contracts.store_runs import (
    ERROR,
    SettleLater,
    cancelled,
    failed,
    new_worker,
    retried,
    snoozed,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite
from flowstone.testing.contracts.store_unique_jobs import (
    ALL,
    BACK,
    MINUTE,
    WAITING,
    assert_superseded,
    created,
    enqueue,
    lose,
    status,
    unique_job,
)


class ComingBackContract(StoreSuite):
    """A job that is to be done again has its key, or finds that another has taken it."""

    @pytest.mark.parametrize("back", BACK)
    async def test_one_that_held_its_key_goes_on_holding_it(
        self, store: Store, back: SettleLater
    ) -> None:
        first = await created(store, unique_job())
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(back(claim, MINUTE))

        assert await status(store, first) is Status.READY
        assert await enqueue(store, unique_job()) == Enqueued(first, created=False)

    @pytest.mark.parametrize("back", BACK)
    async def test_one_that_had_let_go_of_it_takes_it_again(
        self, store: Store, back: SettleLater
    ) -> None:
        new = unique_job(states=WAITING)
        first = await created(store, new)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(back(claim, None))

        assert await enqueue(store, new) == Enqueued(first, created=False)
        assert ids(await worker.claims()) == [first]

    @pytest.mark.parametrize("back", BACK)
    async def test_one_whose_key_is_taken_is_superseded(
        self, store: Store, back: SettleLater
    ) -> None:
        new = unique_job(states=WAITING)
        first = await created(store, new)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        second = await created(store, new)

        assert await worker.settle(back(claim, None)) == []
        await assert_superseded(store, first, by=second)
        assert ids(await worker.claims()) == [second]

    async def test_in_a_turn_that_settles_others_too_nothing_else_changes(
        self, store: Store
    ) -> None:
        batch = [unique_job(key, states=WAITING) for key in "abcd"]
        jobs = [it.job_id for it in await store.enqueue(batch)]
        worker = await new_worker(store)
        by_id = {it.id: it for it in await worker.claims()}
        second = await created(store, batch[1])

        settlements = [
            retried(by_id[jobs[0]]),
            retried(by_id[jobs[1]]),
            succeeded(by_id[jobs[2]]),
            snoozed(by_id[jobs[3]], MINUTE),
        ]
        turn = await worker.turn(*settlements)
        assert list(turn.refused) == []
        assert ids(turn.claims) == [jobs[0], second]
        assert [await status(store, it) for it in jobs] == [
            Status.RUNNING,
            Status.CANCELLED,
            Status.SUCCEEDED,
            Status.READY,
        ]

    async def test_one_that_is_rescued_is_superseded(self, store: Store) -> None:
        new = unique_job(states=WAITING)
        first = await created(store, new)
        second = await lose(self, store, first, meanwhile=new)

        await assert_superseded(store, first, by=second)
        assert ids(await (await new_worker(store)).claims()) == [second]

    async def test_one_that_is_rescued_takes_its_key_again(self, store: Store) -> None:
        new = unique_job(states=WAITING)
        first = await created(store, new)
        await lose(self, store, first)

        assert await enqueue(store, new) == Enqueued(first, created=False)
        assert ids(await (await new_worker(store)).claims()) == [first]

    async def test_one_that_is_rescued_goes_on_holding_its_key(self, store: Store) -> None:
        first = await created(store, unique_job())
        await lose(self, store, first)
        assert await enqueue(store, unique_job()) == Enqueued(first, created=False)

    async def test_one_that_its_worker_leaves_behind_is_superseded(self, store: Store) -> None:
        new = unique_job(states=WAITING)
        first = await created(store, new)
        worker = await new_worker(store)
        await worker.claims()
        second = await created(store, new)
        await store.unregister_worker(worker.id)
        await assert_superseded(store, first, by=second)

    async def test_who_waits_for_one_that_is_superseded_hears_of_it(self, store: Store) -> None:
        new = unique_job(states=WAITING)
        first = await created(store, new)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await created(store, new)

        await store.listen()
        with store.wakeups.watch([f"job:{first}"]) as watch:
            await store.await_job(first)
            watch.take()
            await worker.settle(retried(claim))
            heard: set[str] = set()
            while f"job:{first}" not in heard:
                heard = await watch.wait(10.0)
                assert heard, "nothing was published"

    async def test_one_that_is_retried_by_hand_takes_its_key_again(self, store: Store) -> None:
        first = await _failed(store)
        assert (await store.change_jobs(JobChange.RETRY, JobSelection())).count == 1
        assert await enqueue(store, unique_job()) == Enqueued(first, created=False)

    async def test_one_whose_key_is_taken_is_not_retried_by_hand(self, store: Store) -> None:
        first = await _failed(store)
        await created(store, unique_job())
        for dry_run in (True, False):
            batch = await store.change_jobs(JobChange.RETRY, JobSelection(), dry_run=dry_run)
            assert batch.count == 0
        record = await job(store, first)
        assert (record.status, record.error) == (Status.FAILED, ERROR)

    async def test_one_that_ends_as_it_had_ended_before_lets_go_of_its_key_again(
        self, store: Store
    ) -> None:
        first = await created(store, unique_job())
        worker = await new_worker(store)
        await worker.settle(*map(cancelled, await worker.claims()))
        await store.change_jobs(JobChange.RETRY, JobSelection([first]))
        await store.cancel_jobs([first])

        assert await status(store, first) is Status.CANCELLED
        assert await created(store, unique_job()) != first

    async def test_of_several_that_are_retried_by_hand_the_newest_is(self, store: Store) -> None:
        first, second = [await _failed(store) for _ in range(2)]
        done = await store.change_jobs(JobChange.RETRY, JobSelection([first, second]))
        assert done.count == 1
        assert [await status(store, it) for it in (first, second)] == [Status.FAILED, Status.READY]

    async def test_one_that_is_deleted_lets_go_of_its_key(self, store: Store) -> None:
        first = await created(store, unique_job())
        await store.change_jobs(JobChange.DELETE, JobSelection([first]))
        assert await created(store, unique_job()) != first

    async def test_one_that_is_pruned_lets_go_of_its_key(self, store: Store) -> None:
        first = await created(store, unique_job(states=ALL))
        worker = await new_worker(store)
        await worker.settle(*map(succeeded, await worker.claims()))
        await self.advance(store, timedelta(days=8))
        assert await enqueue(store, unique_job(states=ALL)) == Enqueued(first, created=False)

        pruned = await store.prune(Retention(jobs="7d"))
        assert pruned.jobs == 1
        assert await created(store, unique_job(states=ALL)) != first

    async def test_an_end_that_is_covered_takes_the_key_if_it_is_free(self, store: Store) -> None:
        new = unique_job(states={JobState.WAITING, JobState.SUCCEEDED})
        first = await created(store, new)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(succeeded(claim))
        assert await enqueue(store, new) == Enqueued(first, created=False)

    async def test_an_end_that_is_covered_stays_an_end_if_the_key_is_taken(
        self, store: Store
    ) -> None:
        new = unique_job(states={JobState.WAITING, JobState.SUCCEEDED})
        first = await created(store, new)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        second = await created(store, new)
        await worker.settle(succeeded(claim, '"done"'))

        record = await job(store, first)
        assert (record.status, record.result) == (Status.SUCCEEDED, '"done"')
        assert await enqueue(store, new) == Enqueued(second, created=False)


async def _failed(store: Store) -> int:
    """Let a unique job fail, and return its id."""
    job_id = await created(store, unique_job())
    worker = await new_worker(store)
    await worker.settle(*map(failed, await worker.claims()))
    return job_id
