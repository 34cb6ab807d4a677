"""Jobs below the assets: enqueued, claimed beside assets, settled, cancelled, read."""

from collections.abc import Sequence
from datetime import timedelta

from flowstone.core.contracts.job_queue import JobRecord, NewJob
from flowstone.core.contracts.store import Claim, JsonText, Settlement, Store
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    ERROR,
    ODD_JSON,
    QUEUE,
    cancelled,
    failed,
    key,
    new_run,
    new_worker,
    now,
    retried,
    run_status,
    skipped,
    snoozed,
    statuses,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite


def new_job(
    name: str = "mail",
    arguments: JsonText = "{}",
    *,
    queue: str = QUEUE,
    priority: int = 0,
    delay: timedelta | None = None,
) -> NewJob:
    return NewJob(f"test.{name}", arguments, queue, priority, delay=delay)


async def enqueued(store: Store, *jobs: NewJob, conn: object = None) -> list[int]:
    """Enqueue jobs, by default one, and return their ids."""
    return [it.job_id for it in await store.enqueue(jobs or [new_job()], conn=conn)]


async def job(store: Store, job_id: int) -> JobRecord:
    return (await store.jobs([job_id]))[job_id]


def ids(claims: Sequence[Claim]) -> list[int]:
    return [claim.id for claim in claims]


class EnqueueContract(StoreSuite):
    """A job waits with its arguments until it is claimed."""

    async def test_ids_come_in_the_order_given_and_ascend(self, store: Store) -> None:
        found = await enqueued(store, *(new_job(f"j{number}") for number in range(50)))

        records = await store.jobs(found)
        assert found == sorted(found)
        assert [records[it].name for it in found] == [f"test.j{number}" for number in range(50)]

    async def test_arguments_come_back_as_they_went_in(self, store: Store) -> None:
        [job_id] = await enqueued(store, new_job(arguments=ODD_JSON))
        [claim] = await (await new_worker(store)).claims()

        assert (claim.id, claim.run_id, claim.asset) == (job_id, None, "test.mail")
        assert claim.arguments == ODD_JSON
        assert (await job(store, job_id)).arguments == ODD_JSON

    async def test_a_claim_of_an_asset_has_no_arguments(self, store: Store) -> None:
        await new_run(store, {"a": []})
        [claim] = await (await new_worker(store)).claims()

        assert claim.arguments is None
        assert claim.run_id is not None

    async def test_jobs_and_assets_share_one_order(self, store: Store) -> None:
        [first] = await enqueued(store)
        run = await new_run(store, {"a": []})
        [urgent] = await enqueued(store, new_job(priority=1))
        [last] = await enqueued(store)

        claims = await (await new_worker(store)).claims()
        assert ids(claims) == [urgent, first, run["a"], last]

    async def test_a_job_of_another_queue_is_not_claimed(self, store: Store) -> None:
        await enqueued(store, new_job(queue="elsewhere"))
        assert await (await new_worker(store)).claims() == []

    async def test_one_with_a_delay_waits_for_it(self, store: Store) -> None:
        [job_id] = await enqueued(store, new_job(delay=timedelta(minutes=5)))
        worker = await new_worker(store)
        assert await worker.claims() == []
        not_before = (await job(store, job_id)).not_before
        assert not_before is not None
        assert timedelta(minutes=4) < not_before - await now(store) <= timedelta(minutes=5)

        await self.advance(store, timedelta(minutes=5))
        assert ids(await worker.claims()) == [job_id]

    async def test_of_an_instant_and_a_delay_the_later_counts(self, store: Store) -> None:
        soon = await now(store) + timedelta(minutes=1)
        jobs = [
            NewJob("test.mail", "{}", QUEUE, at=soon, delay=timedelta(minutes=9)),
            NewJob("test.mail", "{}", QUEUE, at=soon, delay=timedelta(seconds=1)),
        ]
        first, second = await enqueued(store, *jobs)
        await self.advance(store, timedelta(minutes=2))

        worker = await new_worker(store)
        assert ids(await worker.claims()) == [second]
        await self.advance(store, timedelta(minutes=8))
        assert ids(await worker.claims()) == [first]


class JobSettlingContract(StoreSuite):
    """A job ends as a materialization does, and its run is nobody's."""

    async def test_a_result_is_kept_as_it_is(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        assert (await job(store, job_id)).status is Status.RUNNING
        assert await worker.settle(succeeded(claim, ODD_JSON)) == []

        record = await job(store, job_id)
        assert (record.status, record.result, record.attempt) == (Status.SUCCEEDED, ODD_JSON, 1)
        assert record.finished_at is not None

    async def test_no_result_is_none(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(succeeded(claim, None))
        assert (await job(store, job_id)).result is None

    async def test_it_is_no_materialization_of_anything(self, store: Store) -> None:
        await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(succeeded(claim))

        found, _ = await store.current([key("mail")])
        assert found == {}
        assert await store.runs() == []

    async def test_a_batch_of_both_moves_the_run_by_its_own_alone(self, store: Store) -> None:
        run = await new_run(store, {"a": [], "b": ["a"]})
        await enqueued(store, *[new_job()] * 3)
        worker = await new_worker(store)
        claims = await worker.claims()

        assert await worker.settle(*(succeeded(it) for it in claims)) == []
        assert await statuses(store, run) == {"a": Status.SUCCEEDED, "b": Status.READY}
        assert await run_status(store, run) is RunStatus.RUNNING

    async def test_a_batch_of_both_without_values_too(self, store: Store) -> None:
        run = await new_run(store, {"a": [], "b": ["a"], "x": []})
        jobs = await enqueued(store, *[new_job()] * 3)
        worker = await new_worker(store)
        by_id = {it.id: it for it in await worker.claims()}

        ends = [failed, skipped, cancelled]
        settlements = [end(by_id[it]) for end, it in zip(ends, jobs, strict=True)]
        await worker.settle(failed(by_id[run["a"]]), succeeded(by_id[run["x"]]), *settlements)
        assert [(await job(store, it)).status for it in jobs] == [
            Status.FAILED,
            Status.SKIPPED,
            Status.CANCELLED,
        ]
        assert await run_status(store, run) is RunStatus.FAILED

    async def test_each_failed_attempt_is_kept(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(retried(claim))
        [claim] = await worker.claims()
        await worker.settle(snoozed(claim))
        [claim] = await worker.claims()
        await worker.settle(failed(claim, '{"message": "no more"}'))

        attempts = await store.failed_attempts(job_id)
        assert [(it.attempt, it.error) for it in attempts] == [
            (1, ERROR),
            (2, '{"message": "no more"}'),
        ]
        assert attempts[0].failed_at <= attempts[1].failed_at
        assert (await job(store, job_id)).attempt == 2

    async def test_also_of_an_asset(self, store: Store) -> None:
        run = await new_run(store, {"a": []})
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(retried(claim))

        [attempt] = await store.failed_attempts(run["a"])
        assert (attempt.attempt, attempt.error) == (1, ERROR)

    async def test_a_late_worker_is_refused_and_leaves_nothing(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        late = await new_worker(store, lease=timedelta(seconds=10))
        [lost] = await late.claims()
        await self.advance(store, timedelta(seconds=11))
        worker = await new_worker(store)
        await store.rescue(max_rescues=3)
        [claim] = await worker.claims()
        assert claim.claim > lost.claim

        assert await worker.settle(succeeded(lost, '"late"')) == [job_id]
        assert await worker.settle(succeeded(claim, '"right"')) == []
        assert (await job(store, job_id)).result == '"right"'

    async def test_one_that_kills_its_workers_is_set_aside(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        for _ in range(2):
            worker = await new_worker(store, lease=timedelta(seconds=10))
            assert ids(await worker.claims()) == [job_id]
            await self.advance(store, timedelta(seconds=11))
            await store.rescue(max_rescues=1)

        record = await job(store, job_id)
        assert record.status is Status.FAILED
        assert record.error is not None
        assert "worker_died" in record.error


class CancelJobsContract(StoreSuite):
    """What has not started ends at once, what runs is asked to stop."""

    async def test_one_that_waits_never_runs(self, store: Store) -> None:
        first, second = await enqueued(store, new_job(), new_job(delay=timedelta(hours=1)))
        assert await store.cancel_jobs([first, second]) == 2
        assert await store.cancel_jobs([first, second]) == 0

        await self.advance(store, timedelta(hours=2))
        assert await (await new_worker(store)).claims() == []
        assert {(await job(store, it)).status for it in (first, second)} == {Status.CANCELLED}

    async def test_one_that_runs_is_asked_to_stop(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()

        assert await store.cancel_jobs([job_id]) == 1
        assert await store.aborts(worker.id) == [job_id]
        await worker.settle(retried(claim))
        assert (await job(store, job_id)).status is Status.CANCELLED

    async def test_what_is_no_job_is_left_alone(self, store: Store) -> None:
        run = await new_run(store, {"a": []})
        assert await store.cancel_jobs([run["a"], 10**12]) == 0
        assert await statuses(store, run) == {"a": Status.READY}
        assert await store.jobs([run["a"], 10**12]) == {}


class AwaitJobContract(StoreSuite):
    """Whoever waits for a job hears of its end."""

    async def _hears(self, store: Store, job_id: int, settlement: Settlement | None) -> None:
        await store.listen()
        with store.wakeups.watch([f"job:{job_id}"]) as watch:
            watch.take()
            await store.await_job(job_id)
            if settlement is None:
                await store.cancel_jobs([job_id])
            else:
                worker = await new_worker(store)
                [claim] = await worker.claims()
                settlement.id, settlement.claim = claim.id, claim.claim
                await worker.settle(settlement)
            heard: set[str] = set()
            while f"job:{job_id}" not in heard:
                heard = await watch.wait(10.0)
                assert heard, "nothing was published"

    async def test_of_its_success(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        await self._hears(store, job_id, succeeded(Claim(0, 0, None, "", "", 1)))

    async def test_of_its_failure(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        await self._hears(store, job_id, failed(Claim(0, 0, None, "", "", 1)))

    async def test_of_its_cancellation(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        await self._hears(store, job_id, None)


class JobsContract(EnqueueContract, JobSettlingContract, CancelJobsContract, AwaitJobContract):
    """All of it."""
