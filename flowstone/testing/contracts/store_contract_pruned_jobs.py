"""Jobs go when they ended so long ago, by how they ended and by their queue; open ones stay."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Pruned, Store
from flowstone.core.retention import Retention
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_contract_pruning import DAY, prune
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    Settle,
    cancelled,
    failed,
    new_run,
    new_worker,
    retried,
    skipped,
    snoozed,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)
POLICY = Retention(
    jobs=7 * DAY, failed_jobs=30 * DAY, queues={"quick": 2 * HOUR, "audit": (None, 3 * DAY)}
)


async def ended(
    store: Store, count: int = 1, *, queue: str = QUEUE, how: Settle = succeeded
) -> list[int]:
    """Enqueue jobs, end them, and return their ids."""
    ids = await enqueued(store, *[new_job(queue=queue)] * count)
    worker = await new_worker(store)
    while claims := await worker.claims(queue=queue):
        assert await worker.settle(*map(how, claims)) == []
    return ids


async def kept(store: Store, ids: Sequence[int]) -> list[int]:
    """Return those of these jobs that are still there."""
    return sorted(await store.jobs(ids))


class PruningJobsContract(StoreSuite):
    """A job goes with all that it holds."""

    @pytest.mark.parametrize("how", [succeeded, skipped, cancelled])
    async def test_a_job_goes_after_its_period(self, store: Store, how: Settle) -> None:
        old = await ended(store, 3, how=how)
        await self.advance(store, 6 * DAY)
        young = await ended(store, how=how)
        assert (await prune(store, POLICY)).jobs == 0

        await self.advance(store, 1.5 * DAY)
        prunable = await store.prunable(POLICY)
        pruned = await prune(store, POLICY)

        assert prunable.jobs == pruned.jobs == 3
        assert (pruned.runs, pruned.materializations, pruned.values) == (0, 0, 0)
        assert await kept(store, [*old, *young]) == young
        assert (await store.prunable(POLICY)).jobs == 0

    async def test_a_job_s_result_and_failed_attempts_go_with_it(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        await worker.settle(*map(retried, await worker.claims()))
        await worker.settle(*map(succeeded, await worker.claims()))
        assert len(await store.failed_attempts(job_id)) == 1
        assert await store.values([job_id])
        await self.advance(store, 8 * DAY)

        await prune(store, POLICY)

        assert [*await store.failed_attempts(job_id)] == []
        assert dict(await store.values([job_id])) == {}

    async def test_a_failed_job_is_kept_for_longer(self, store: Store) -> None:
        [job_id] = await ended(store, how=failed)
        await self.advance(store, 29 * DAY)
        assert (await prune(store, POLICY)).jobs == 0

        await self.advance(store, 2 * DAY)
        assert (await prune(store, POLICY)).jobs == 1
        assert await kept(store, [job_id]) == []

    async def test_a_queue_may_have_periods_of_its_own(self, store: Store) -> None:
        here, quick, audit = [
            await ended(store, queue=queue) + await ended(store, queue=queue, how=failed)
            for queue in (QUEUE, "quick", "audit")
        ]
        left = []
        for passed in (3 * HOUR, 4 * DAY, 4 * DAY, 100 * DAY):
            await self.advance(store, passed)
            await prune(store, POLICY)
            left.append([await kept(store, ids) for ids in (here, quick, audit)])

        assert left == [
            [here, [], audit],
            [here, [], audit[:1]],
            [here[1:], [], audit[:1]],
            [[], [], audit[:1]],
        ]

    async def test_a_job_that_ends_between_two_prunings_goes_in_its_time(
        self, store: Store
    ) -> None:
        """Not at the next pass over everything: that is a day away."""
        await prune(store, POLICY)
        for _ in range(5):
            ids = await ended(store, 2, queue="quick") + await ended(
                store, queue="quick", how=failed
            )
            await self.advance(store, HOUR)
            await prune(store, POLICY)
            assert await kept(store, ids) == ids
            await self.advance(store, 1.5 * HOUR)
            assert (await prune(store, POLICY)).jobs == 3
            assert await kept(store, ids) == []

    async def test_a_job_that_ends_late_counts_from_its_end(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        for _ in range(10):
            await worker.settle(*map(snoozed, await worker.claims()))
            await self.advance(store, 5 * DAY)
            await prune(store, POLICY)
        assert await worker.settle(*map(succeeded, await worker.claims())) == []

        await self.advance(store, 6 * DAY)
        await prune(store, POLICY)
        assert await kept(store, [job_id]) == [job_id]
        await self.advance(store, 2 * DAY)
        await prune(store, POLICY)
        assert await kept(store, [job_id]) == []

    async def test_open_jobs_stay_however_old(self, store: Store) -> None:
        worker = await new_worker(store)
        [running] = await enqueued(store)
        await worker.claims()
        waiter = await new_worker(store)
        [waiting] = await enqueued(store)
        [claim] = await waiter.claims()
        await waiter.settle(waited(claim))
        [later] = await enqueued(store, new_job(delay=2000 * DAY))
        [ready] = await enqueued(store)

        for _ in range(2):
            await self.advance(store, 500 * DAY)
            await prune(store, POLICY)

        ids = [running, waiting, later, ready]
        assert await kept(store, ids) == ids

    @pytest.mark.parametrize("limit", [2, 3, 7, 30, 1000])
    async def test_jobs_go_in_batches_of_any_size(self, store: Store, limit: int) -> None:
        ids = await ended(store, 10)
        run = await new_run(store, {"a": []})
        ids += await ended(store, 5, how=failed)
        left = await enqueued(store, new_job(queue="elsewhere"))
        await self.advance(store, 31 * DAY)

        pruned = await prune(store, POLICY, limit=limit)

        assert pruned.jobs == 15
        assert await kept(store, [*ids, *left]) == left
        assert len(await statuses(store, run)) == 1
        assert await prune(store, POLICY, limit=limit) == Pruned()

    async def test_no_period_keeps_jobs_for_ever(self, store: Store) -> None:
        ids = await ended(store) + await ended(store, how=failed)
        await self.advance(store, 10_000 * DAY)

        assert (await prune(store, Retention(jobs=None, failed_jobs=None))).jobs == 0
        assert await kept(store, ids) == ids

    async def test_the_policy_of_jobs_may_change(self, store: Store) -> None:
        ids = await ended(store, 2, queue="mail")
        await self.advance(store, 2 * DAY)
        other = await ended(store, queue="quick")
        await self.advance(store, 3 * HOUR)
        assert (await prune(store, POLICY)).jobs == 1

        assert (await prune(store, Retention(queues={"mail": "3d"}))).jobs == 0
        assert (await prune(store, Retention(queues={"mail": "1d", "quick": "1h"}))).jobs == 2
        assert await kept(store, [*ids, *other]) == []
