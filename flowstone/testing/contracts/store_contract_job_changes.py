"""Jobs found by what an operator says of them; retried, cancelled and deleted by hand."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from flowstone.core.contracts.job_queue import JobChange, JobRecord, JobSelection
from flowstone.core.contracts.store import Store
from flowstone.core.status import Status
from flowstone.testing.contracts.store_contract_jobs import enqueued, ids, job, new_job
from flowstone.testing.contracts.store_runs import (
    ERROR,
    QUEUE,
    SETTLEMENTS,
    Settle,
    cancelled,
    failed,
    new_run,
    new_worker,
    retried,
    skipped,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

ALL = JobSelection()
HOUR = timedelta(hours=1)
ENDS: dict[Status, Settle] = {
    Status.SUCCEEDED: succeeded,
    Status.FAILED: failed,
    Status.SKIPPED: skipped,
    Status.CANCELLED: cancelled,
}


async def found(store: Store, selection: JobSelection = ALL, *, limit: int = 100) -> list[int]:
    """Return the ids of all jobs that are meant, page by page."""
    seen: list[int] = []
    before = None
    while True:
        page = await store.find_jobs(selection, limit=limit, before=before)
        assert len(page.jobs) <= limit
        seen += [it.job_id for it in page.jobs]
        if page.before is None:
            return seen
        before = page.before


async def change(
    store: Store,
    what: JobChange,
    selection: JobSelection = ALL,
    *,
    limit: int = 100,
    dry_run: bool = False,
) -> int:
    """Do it to all jobs that are meant, and return how many there were."""
    count, before = 0, None
    while True:
        batch = await store.change_jobs(
            what, selection, limit=limit, before=before, dry_run=dry_run
        )
        count += batch.count
        if batch.before is None:
            return count
        before = batch.before


async def ended(store: Store, *ends: Status, name: str = "mail") -> list[int]:
    """Enqueue a job for each end, and bring it there; return their ids."""
    made = await enqueued(store, *(new_job(name, queue="ending") for _ in ends))
    worker = await new_worker(store)
    claims = await worker.claims(queue="ending")
    settlements = [ENDS[end](claim) for end, claim in zip(ends, claims, strict=True)]
    assert await worker.settle(*settlements) == []
    return made


def of(*job_ids: int) -> JobSelection:
    return JobSelection(ids=job_ids)


class FindJobsContract(StoreSuite):
    """What is said of jobs is what they have."""

    async def test_the_newest_is_first_and_pages_follow_one_another(self, store: Store) -> None:
        made = await enqueued(store, *[new_job()] * 7)

        assert await found(store) == made[::-1]
        assert await found(store, limit=3) == made[::-1]
        assert await found(store, limit=7) == made[::-1]

    async def test_each_is_there_as_it_stands(self, store: Store) -> None:
        [job_id] = await ended(store, Status.SUCCEEDED)

        page = await store.find_jobs(ALL)
        assert page.jobs == [await job(store, job_id)]

    async def test_nothing_of_a_run_is_a_job(self, store: Store) -> None:
        run = await new_run(store, {"a": []})

        assert await found(store) == []
        assert await found(store, of(run["a"])) == []
        assert await found(store, JobSelection(name="test.a")) == []
        assert await found(store, JobSelection(statuses=[Status.READY])) == []

    async def test_by_id_name_and_queue(self, store: Store) -> None:
        a, b, c = await enqueued(store, new_job("a"), new_job("b", queue="far"), new_job("a"))

        assert await found(store, of(b, a, a, 10**12)) == [b, a]
        assert await found(store, JobSelection(name="test.a")) == [c, a]
        assert await found(store, JobSelection(queue="far")) == [b]
        assert await found(store, JobSelection(ids=[a, b], name="test.a")) == [a]
        assert await found(store, JobSelection(name="test.a", queue="far")) == []
        assert await found(store, JobSelection(name="test.mail")) == []
        assert await found(store, of()) == []

    async def test_by_where_they_stand(self, store: Store) -> None:
        by_end = dict(zip(ENDS, await ended(store, *ENDS), strict=True))
        running, ready, waiting = await enqueued(store, *[new_job()] * 3)
        worker = await new_worker(store)
        claims = {it.id: it for it in await worker.claims()}
        await worker.settle(retried(claims[ready]), waited(claims[waiting]))

        for status, job_id in by_end.items():
            assert await found(store, JobSelection(statuses=[status])) == [job_id]
        assert await found(store, JobSelection(statuses=[Status.RUNNING])) == [running]
        assert await found(store, JobSelection(statuses=[Status.READY])) == [ready]
        assert await found(store, JobSelection(statuses=[Status.WAITING])) == [waiting]
        mixed = [Status.RUNNING, Status.FAILED]
        assert await found(store, JobSelection(statuses=mixed)) == [running, by_end[Status.FAILED]]
        assert await found(store, JobSelection(statuses=[])) == []

    async def test_age_is_that_of_the_end_or_else_of_the_enqueueing(self, store: Store) -> None:
        open_, late = await enqueued(store, new_job(queue="later"), new_job())
        await self.advance(store, 2 * HOUR)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await worker.settle(failed(claim))
        [new] = await enqueued(store)
        await self.advance(store, timedelta(minutes=1))

        assert await found(store, JobSelection(older_than=HOUR)) == [open_]
        assert await found(store, JobSelection(newer_than=HOUR)) == [new, late]
        assert await found(store, JobSelection(older_than=HOUR, newer_than=HOUR)) == []


class RetryJobsContract(StoreSuite):
    """What has ended is given another life; what waits for its time does so no longer."""

    @pytest.mark.parametrize("end", ENDS)
    async def test_however_it_ended_it_runs_again(self, store: Store, end: Status) -> None:
        [job_id] = await ended(store, end)

        assert await change(store, JobChange.RETRY, of(job_id)) == 1
        assert await change(store, JobChange.RETRY, of(job_id)) == 0
        record = await job(store, job_id)
        assert (record.status, record.result, record.finished_at) == (Status.READY, None, None)
        assert record.error == (ERROR if end is Status.FAILED else None)
        worker = await new_worker(store)
        [claim] = await worker.claims(queue="ending")
        assert (claim.id, claim.attempt) == (job_id, 2)
        assert await worker.settle(succeeded(claim, '"better"')) == []
        record = await job(store, job_id)
        assert (record.status, record.result) == (Status.SUCCEEDED, '"better"')

    async def test_a_worker_of_its_former_life_is_refused(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        [late] = await worker.claims()
        await worker.settle(failed(late))
        await change(store, JobChange.RETRY)
        [claim] = await worker.claims()

        assert claim.claim == late.claim + 1
        assert await worker.settle(succeeded(late, '"late"')) == [job_id]
        assert await worker.settle(succeeded(claim, '"right"')) == []
        assert (await job(store, job_id)).result == '"right"'

    async def test_its_failed_attempts_stay(self, store: Store) -> None:
        [job_id] = await ended(store, Status.FAILED)
        await change(store, JobChange.RETRY)
        worker = await new_worker(store)
        [claim] = await worker.claims(queue="ending")
        await worker.settle(failed(claim, '{"message": "again"}'))

        attempts = await store.failed_attempts(job_id)
        assert [(it.attempt, it.error) for it in attempts] == [
            (1, ERROR),
            (2, '{"message": "again"}'),
        ]

    async def test_one_that_was_cancelled_before_it_ran(self, store: Store) -> None:
        [job_id] = await enqueued(store, new_job(delay=HOUR))
        await store.cancel_jobs([job_id])

        assert await change(store, JobChange.RETRY) == 1
        assert ids(await (await new_worker(store)).claims()) == [job_id]

    async def test_one_that_was_asked_to_stop_is_asked_no_longer(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await store.cancel_jobs([job_id])
        await worker.settle(succeeded(claim))
        await change(store, JobChange.RETRY)
        [claim] = await worker.claims()

        assert await store.aborts(worker.id) == []
        await worker.settle(retried(claim))
        assert (await job(store, job_id)).status is Status.READY

    async def test_one_that_waits_for_its_time_is_due_at_once(self, store: Store) -> None:
        timed, due = await enqueued(store, new_job(delay=HOUR), new_job(queue="elsewhere"))
        await new_run(store, {"a": []}, queue="elsewhere")

        assert await change(store, JobChange.RETRY) == 1
        assert (await job(store, timed)).not_before is None
        assert (await job(store, due)).status is Status.READY
        assert ids(await (await new_worker(store)).claims()) == [timed]

    async def test_whoever_serves_the_queue_hears_of_it(self, store: Store) -> None:
        await ended(store, Status.FAILED)
        await enqueued(store, new_job(delay=HOUR, queue="timed"))
        await store.listen(["ending", "timed"])
        with store.wakeups.watch(["queue:ending", "queue:timed"]) as watch:
            watch.take()
            await change(store, JobChange.RETRY)
            heard: set[str] = set()
            while heard != {"queue:ending", "queue:timed"}:
                more = await watch.wait(10.0)
                assert more, "nothing was published"
                heard |= more

    async def test_whoever_waits_for_it_waits_for_its_new_end(self, store: Store) -> None:
        [job_id] = await ended(store, Status.FAILED)
        await change(store, JobChange.RETRY)
        await store.listen()
        with store.wakeups.watch([f"job:{job_id}"]) as watch:
            watch.take()
            await store.await_job(job_id)
            worker = await new_worker(store)
            [claim] = await worker.claims(queue="ending")
            await worker.settle(succeeded(claim))
            assert await watch.wait(10.0) == {f"job:{job_id}"}

    async def test_what_runs_or_waits_for_something_is_left_alone(self, store: Store) -> None:
        running, waiting = await enqueued(store, *[new_job()] * 2)
        worker = await new_worker(store)
        claims = {it.id: it for it in await worker.claims()}
        await worker.settle(waited(claims[waiting], timeout=HOUR))

        assert await change(store, JobChange.RETRY) == 0
        assert await worker.claims() == []
        assert await worker.settle(succeeded(claims[running])) == []

    @pytest.mark.parametrize("event", SETTLEMENTS, ids=lambda event: event.name.lower())
    async def test_whatever_becomes_of_the_new_life_is_settled(
        self, store: Store, event: int
    ) -> None:
        [job_id] = await ended(store, Status.SUCCEEDED)
        await change(store, JobChange.RETRY)
        worker = await new_worker(store)
        [claim] = await worker.claims(queue="ending")
        settlement = next(make for it, make in SETTLEMENTS.items() if it == event)

        assert await worker.settle(settlement(claim)) == []
        assert (await job(store, job_id)).status is not Status.RUNNING


class DeleteJobsContract(StoreSuite):
    """What does not run goes, with all that belongs to it."""

    async def test_nothing_is_left_of_it(self, store: Store) -> None:
        gone = await ended(store, *ENDS)
        gone += await enqueued(store, new_job(), new_job(delay=HOUR))

        assert await change(store, JobChange.DELETE) == len(gone)
        assert await store.jobs(gone) == {}
        assert await store.values(gone) == {}
        for job_id in gone:
            assert not await store.failed_attempts(job_id)
        await self.advance(store, 2 * HOUR)
        assert await (await new_worker(store)).claims() == []

    async def test_what_runs_stays_and_what_waits_goes(self, store: Store) -> None:
        running, waiting = await enqueued(store, *[new_job()] * 2)
        worker = await new_worker(store)
        claims = {it.id: it for it in await worker.claims()}
        await worker.settle(waited(claims[waiting], timeout=HOUR))

        assert await change(store, JobChange.DELETE) == 1
        assert await found(store) == [running]
        assert await worker.settle(succeeded(claims[running])) == []
        await self.advance(store, 2 * HOUR)
        assert await worker.claims() == []

    async def test_whoever_waits_for_it_hears_of_it(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        await store.listen()
        with store.wakeups.watch([f"job:{job_id}"]) as watch:
            watch.take()
            await store.await_job(job_id)
            await change(store, JobChange.DELETE)
            assert await watch.wait(10.0) == {f"job:{job_id}"}

    async def test_assets_are_left_alone(self, store: Store) -> None:
        run = await new_run(store, {"a": []})

        for what in JobChange:
            assert await change(store, what, of(run["a"])) == 0
            assert await change(store, what) == 0
        assert await statuses(store, run) == {"a": Status.READY}


class ChangeJobsContract(StoreSuite):
    """All that is meant is changed, step by step, and nothing else."""

    async def test_cancelling_ends_what_waits_and_stops_what_runs(self, store: Store) -> None:
        await ended(store, *ENDS)
        running, ready = await enqueued(store, *[new_job()] * 2)
        worker = await new_worker(store)
        await worker.claims(1)

        assert await change(store, JobChange.CANCEL) == 2
        assert await store.aborts(worker.id) == [running]
        assert (await job(store, ready)).status is Status.CANCELLED

    @pytest.mark.parametrize("what", JobChange)
    async def test_a_dry_run_counts_them_and_changes_nothing(
        self, store: Store, what: JobChange
    ) -> None:
        await ended(store, *ENDS)
        await enqueued(store, *[new_job(delay=HOUR)] * 3, *[new_job()] * 3)
        worker = await new_worker(store)
        await worker.claims(1)
        before = await self._all(store)

        expected = await change(store, what, limit=4, dry_run=True)
        assert await self._all(store) == before
        assert await store.aborts(worker.id) == []
        assert await change(store, what) == expected > 0

    @pytest.mark.parametrize("limit", [1, 3, 100])
    async def test_steps_of_any_length_reach_all(self, store: Store, limit: int) -> None:
        failures = await ended(store, *[Status.FAILED] * 7)
        others = await ended(store, *[Status.SUCCEEDED] * 3)
        selection = JobSelection(statuses=[Status.FAILED])

        assert await change(store, JobChange.RETRY, selection, limit=limit) == 7
        assert await found(store, JobSelection(statuses=[Status.READY])) == failures[::-1]
        assert await found(store, JobSelection(statuses=[Status.SUCCEEDED])) == others[::-1]

    async def test_only_what_is_meant_in_every_respect_is_changed(self, store: Store) -> None:
        await ended(store, Status.FAILED, name="old")
        [old] = await ended(store, Status.FAILED)
        await self.advance(store, 2 * HOUR)
        await ended(store, Status.FAILED)
        selection = JobSelection(
            name="test.mail", queue="ending", statuses=[Status.FAILED], older_than=HOUR
        )

        for what in (JobChange.RETRY, JobChange.CANCEL):
            assert await change(store, what, selection) == (what is JobChange.RETRY)
        assert await found(store, JobSelection(statuses=[Status.READY])) == [old]

    async def test_a_status_in_which_it_cannot_happen_is_none(self, store: Store) -> None:
        await enqueued(store)
        await (await new_worker(store)).claims()

        selection = JobSelection(statuses=[Status.RUNNING], queue=QUEUE)
        assert await change(store, JobChange.DELETE, selection) == 0
        assert await change(store, JobChange.RETRY, selection) == 0

    async def _all(self, store: Store) -> Sequence[JobRecord]:
        return (await store.find_jobs(ALL)).jobs


class JobChangesContract(
    FindJobsContract, RetryJobsContract, DeleteJobsContract, ChangeJobsContract
):
    """All of it."""
