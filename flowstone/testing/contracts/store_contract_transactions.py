"""
Transactions of attempts: what was written commits with the settlement, under the same fence.

For stores that have them (`Transactions.has_transactions`), beside `StoreContract`::

    class TestRedisStore(StoreContract, TransactionsContract): ...

What an attempt writes is here a job that the store itself enqueues on the transaction's connection.
"""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Store
from flowstone.core.contracts.transactions import Ending, SettlingTransaction
from flowstone.core.errors import TransactionError
from flowstone.core.status import Event, Status
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import (
    SETTLEMENTS,
    new_run,
    new_worker,
    row,
    short_name,
    statuses,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

IDLE_LIMIT = timedelta(seconds=20)
LEASE = timedelta(seconds=30)
LATE = timedelta(minutes=5)


class TransactionsContract(StoreSuite):
    """A transaction is ended once: committed with a settlement that counts, or undone."""

    DRIVER = "asyncpg"
    """Whose connections the store gives."""

    @pytest.mark.parametrize("event", SETTLEMENTS)
    async def test_it_commits_with_whatever_the_settlement_says(
        self, store: Store, event: Event
    ) -> None:
        worker = await new_worker(store)
        plain, written = [
            await new_run(store, {"a": [], "b": ["a"], "c": ["a?"]}) for _ in range(2)
        ]
        (alone,) = await worker.claims(1, run=plain)
        (claim,) = await worker.claims(1, run=written)
        await worker.settle(SETTLEMENTS[event](alone))

        transaction, job_id = await self._written(store)
        ending = await transaction.settle(worker.id, SETTLEMENTS[event](claim))

        assert ending is Ending.COMMITTED
        assert list(await store.jobs([job_id])) == [job_id]
        assert await statuses(store, written) == await statuses(store, plain)
        assert (await row(store, written, "a")).attempt == (await row(store, plain, "a")).attempt
        assert await worker.settle(SETTLEMENTS[event](claim)) == [claim.id]

    async def test_successors_can_be_claimed(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        (claim,) = await worker.claims(1)
        transaction = await store.begin(self.DRIVER, idle_limit=IDLE_LIMIT)
        await transaction.settle(worker.id, succeeded(claim, "[1]"))

        assert await store.values([run["a"]]) == {run["a"]: "[1]"}
        assert [short_name(it) for it in await worker.claims(run=run)] == ["b"]

    async def test_another_workers_settlement_is_refused_with_what_was_written(
        self, store: Store
    ) -> None:
        owner, stranger = await new_worker(store), await new_worker(store)
        run = await new_run(store, {"a": []})
        (claim,) = await owner.claims(1)

        transaction, job_id = await self._written(store)
        ending = await transaction.settle(stranger.id, succeeded(claim))

        assert ending is Ending.REFUSED
        assert await store.jobs([job_id]) == {}
        assert await statuses(store, run) == {"a": Status.RUNNING}

    @pytest.mark.parametrize("off_by", [-1, 1])
    async def test_so_is_another_claims(self, store: Store, off_by: int) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        (claim,) = await worker.claims(1)
        settlement = succeeded(claim)
        settlement.claim += off_by

        transaction, job_id = await self._written(store)

        assert await transaction.settle(worker.id, settlement) is Ending.REFUSED
        assert await store.jobs([job_id]) == {}
        assert await statuses(store, run) == {"a": Status.RUNNING}

    async def test_so_is_that_of_a_worker_that_was_given_up(self, store: Store) -> None:
        late = await new_worker(store, lease=LEASE)
        run = await new_run(store, {"a": []})
        (claim,) = await late.claims(1)
        transaction, job_id = await self._written(store)
        await self.advance(store, LATE)
        await store.rescue(max_rescues=5)

        assert await transaction.settle(late.id, succeeded(claim)) is Ending.REFUSED
        assert await store.jobs([job_id]) == {}
        assert await statuses(store, run) == {"a": Status.READY}

    async def test_rolled_back_it_leaves_nothing_and_the_claim_as_it_was(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        (claim,) = await worker.claims(1)
        transaction, job_id = await self._written(store)
        await transaction.roll_back()
        await transaction.roll_back()

        assert await store.jobs([job_id]) == {}
        assert await worker.settle(succeeded(claim)) == []

    async def test_a_rollback_comes_too_late_for_what_is_settled(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        (claim,) = await worker.claims(1)
        transaction, job_id = await self._written(store)
        await transaction.settle(worker.id, succeeded(claim))
        await transaction.roll_back()

        assert list(await store.jobs([job_id])) == [job_id]
        assert await statuses(store, run) == {"a": Status.SUCCEEDED}

    async def test_a_driver_that_it_does_not_know_is_refused(self, store: Store) -> None:
        assert store.has_transactions
        with pytest.raises(TransactionError, match="no driver 'telepathy'"):
            await store.begin("telepathy", idle_limit=IDLE_LIMIT)

    async def _written(self, store: Store) -> tuple[SettlingTransaction, int]:
        """Return a transaction, and the job that was written in it."""
        transaction = await store.begin(self.DRIVER, idle_limit=IDLE_LIMIT)
        [job_id] = await enqueued(store, new_job(queue="elsewhere"), conn=transaction.conn)
        assert await store.jobs([job_id]) == {}
        return transaction, job_id
