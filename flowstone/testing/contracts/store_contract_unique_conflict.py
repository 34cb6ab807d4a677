"""What becomes of a unique job that meets another: it replaces that one, or is refused."""

from dataclasses import replace

import pytest

from flowstone.core.contracts.job_queue import Enqueued, NewJob
from flowstone.core.contracts.store import Store
from flowstone.core.errors import JobExistsError
from flowstone.core.status import Status
from flowstone.core.unique_key import OnConflict
from flowstone.testing.contracts.store_contract_jobs import ids, job
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    new_worker,
    now,
    retried,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite
from flowstone.testing.contracts.store_unique_jobs import (
    MINUTE,
    created,
    enqueue,
    unique_job,
)


class ReplaceContract(StoreSuite):
    """A conflict may replace what waits."""

    async def test_it_replaces_arguments_queue_priority_and_time(self, store: Store) -> None:
        first = await created(store, unique_job(delay=MINUTE))
        new = unique_job(
            arguments='{"n": 2}', queue="other", priority=7, on_conflict=OnConflict.REPLACE
        )
        assert await enqueue(store, new) == Enqueued(first, created=False, replaced=True)

        worker = await new_worker(store)
        assert await worker.claims() == []
        [claim] = await worker.claims(queue="other")
        assert (claim.id, claim.arguments, claim.queue) == (first, '{"n": 2}', "other")
        record = await job(store, first)
        assert (record.priority, record.queue) == (7, "other")

    async def test_it_can_be_put_off_again_and_again(self, store: Store) -> None:
        new = unique_job(delay=2 * MINUTE, on_conflict=OnConflict.REPLACE)
        first = await created(store, new)
        worker = await new_worker(store)
        for _ in range(3):
            await self.advance(store, MINUTE)
            assert await enqueue(store, new) == Enqueued(first, created=False, replaced=True)
            assert await worker.claims() == []

        not_before = (await job(store, first)).not_before
        assert not_before is not None
        assert MINUTE < not_before - await now(store) <= 2 * MINUTE
        await self.advance(store, 2 * MINUTE)
        assert ids(await worker.claims()) == [first]

    async def test_it_replaces_one_that_waits_to_be_tried_again(self, store: Store) -> None:
        first = await created(store, unique_job())
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(retried(claim, MINUTE))

        new = unique_job(arguments="[2]", on_conflict=OnConflict.REPLACE)
        assert (await enqueue(store, new)).replaced
        [claim] = await worker.claims()
        assert (claim.id, claim.attempt, claim.arguments) == (first, 2, "[2]")

    async def test_one_that_runs_stays_as_it_is(self, store: Store) -> None:
        first = await created(store, unique_job(arguments="[1]"))
        worker = await new_worker(store)
        [claim] = await worker.claims()
        new = unique_job(arguments="[2]", on_conflict=OnConflict.REPLACE)
        assert await enqueue(store, new) == Enqueued(first, created=False)

        await worker.settle(succeeded(claim))
        assert (await job(store, first)).arguments == "[1]"
        assert await worker.claims() == []

    async def test_one_that_is_parked_stays_as_it_is(self, store: Store) -> None:
        first = await created(store, unique_job(arguments="[1]"))
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(waited(claim))
        new = unique_job(arguments="[2]", on_conflict=OnConflict.REPLACE)
        assert await enqueue(store, new) == Enqueued(first, created=False)
        record = await job(store, first)
        assert (record.status, record.arguments) == (Status.WAITING, "[1]")

    async def test_it_replaces_the_lane_and_the_key_of_limits(self, store: Store) -> None:
        first = await created(store, unique_job(delay=MINUTE))
        before = await created(store, replace(unique_job("before"), lane="one"))
        worker = await new_worker(store)
        assert ids(await worker.claims()) == [before]

        # Behind what runs in its lane, until it leaves it again.
        new = unique_job(on_conflict=OnConflict.REPLACE)
        assert (await enqueue(store, replace(new, lane="one", limit_key="a"))).replaced
        assert await worker.claims() == []
        assert (await enqueue(store, new)).replaced
        assert ids(await worker.claims()) == [first]

    async def test_of_a_batch_the_last_one_counts(self, store: Store) -> None:
        replace = OnConflict.REPLACE
        first = await created(store, unique_job("held"))
        batch = [
            unique_job(key, arguments=f"[{place}]", on_conflict=replace)
            for place, key in enumerate(["held", "new", "held", "new"])
        ]
        held, new, held_again, new_again = await store.enqueue(batch)

        assert held == held_again == Enqueued(first, created=False, replaced=True)
        assert new.created
        assert new_again == Enqueued(new.job_id, created=False, replaced=True)
        claims = await (await new_worker(store)).claims()
        assert [(it.id, it.arguments) for it in claims] == [(first, "[2]"), (new.job_id, "[3]")]

    async def test_one_whose_window_has_passed_is_not_replaced(self, store: Store) -> None:
        new = unique_job(within=MINUTE, delay=9 * MINUTE, on_conflict=OnConflict.REPLACE)
        first = await created(store, new)
        await self.advance(store, MINUTE)
        assert await created(store, new) != first


class RaiseContract(StoreSuite):
    """A conflict may be an error, and then nothing is enqueued."""

    async def test_it_names_the_job_that_is_there(self, store: Store) -> None:
        new = unique_job(on_conflict=OnConflict.RAISE)
        first = await created(store, new)
        with pytest.raises(
            JobExistsError, match=rf"'test\.sync' is unique, and job {first}"
        ) as told:
            await store.enqueue([new])
        assert (told.value.job_id, told.value.job) == (first, "test.sync")

    async def test_of_a_batch_nothing_is_written(self, store: Store) -> None:
        held = await created(store, unique_job("held", arguments="[1]"))
        batch = [
            NewJob("test.plain", "{}", QUEUE),
            unique_job("new"),
            unique_job("replacing", on_conflict=OnConflict.REPLACE),
            unique_job("held", on_conflict=OnConflict.RAISE),
        ]
        with pytest.raises(JobExistsError):
            await store.enqueue(batch)

        assert ids(await (await new_worker(store)).claims()) == [held]
        assert (await enqueue(store, unique_job("new"))).created
        assert (await enqueue(store, unique_job("replacing"))).created
