"""A job that somebody ends or retries strands no run."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from procrastinate.jobs import Status as JobStatus
from procrastinate.manager import JobManager

from flowstone.core.status import RunStatus, Status
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    begun,
    cancelled,
    new_run,
    new_worker,
    retried,
    run_status,
    statuses,
    succeeded,
    waited,
)
from tests.engine.reconcile.meddling import finish, finishes_all, outcomes

COUNTERS = "SELECT open_count, failed_count, cancelled_count FROM flowstone.flowstone_runs"


class TestAJobThatEndsByHand:
    @pytest.mark.parametrize("abort", [False, True])
    async def test_cancelled_before_it_starts_it_takes_its_dependents_with_it(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection, abort: bool
    ) -> None:
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["a?"], "x": []})

        assert await jobs.cancel_job_by_id_async(run["a"], abort=abort)

        assert await outcomes(store) == {run["a"]: "cancelled"}
        assert await statuses(store, run) == {
            "a": Status.CANCELLED,
            "b": Status.CANCELLED,
            "c": Status.READY,
            "x": Status.READY,
        }
        assert tuple(await pg.fetchrow(COUNTERS)) == (2, 0, 2)
        await finishes_all(await new_worker(store))
        assert await run_status(store, run) is RunStatus.CANCELLED

    async def test_deleted_it_is_cancelled_and_the_error_says_by_whom(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": [], "b": ["a"]})

        await pg.execute("SELECT procrastinate_cancel_job_v1($1, false, true)", run["a"])

        assert await outcomes(store) == {run["a"]: "cancelled"}
        assert await run_status(store, run) is RunStatus.CANCELLED
        role = await pg.fetchval("SELECT session_user")
        error = await pg.fetchval(
            "SELECT error_message FROM materializations WHERE asset = 'test.a'"
        )
        assert error == f"its job was deleted from outside FlowStone by role {role} (psql)"

    async def test_deleted_while_it_waits_it_leaves_no_wait(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await worker.settle(*map(waited, await worker.claims()))

        assert await jobs.cancel_job_by_id_async(run["a"], delete_job=True)
        await store.reconcile()

        assert await run_status(store, run) is RunStatus.CANCELLED
        assert await pg.fetchval("SELECT count(*) FROM flowstone_waits") == 0

    @pytest.mark.parametrize(
        ("status", "delete", "expected"),
        [
            (JobStatus.SUCCEEDED, False, Status.CANCELLED),
            (JobStatus.FAILED, False, Status.FAILED),
            (JobStatus.ABORTED, False, Status.CANCELLED),
            (JobStatus.SUCCEEDED, True, Status.CANCELLED),
        ],
    )
    @pytest.mark.parametrize("is_running", [False, True])
    async def test_finished_by_hand_it_ends_without_a_value(
        self,
        store: PostgresStore,
        jobs: JobManager,
        status: JobStatus,
        delete: bool,
        expected: Status,
        is_running: bool,
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claims() if is_running else []

        await finish(jobs, run["a"], status, delete=delete)

        await store.reconcile()
        found = await statuses(store, run)
        assert found["a"] is expected
        assert found["b"].is_terminal
        assert (await run_status(store, run)).is_terminal
        assert await worker.settle(*map(succeeded, claims)) == [claim.id for claim in claims]
        assert await statuses(store, run) == found

    async def test_a_second_try_that_is_finished_by_hand_ends_too(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await worker.settle(*map(retried, await worker.claims()))

        await finish(jobs, run["a"], JobStatus.FAILED)

        assert await outcomes(store) == {run["a"]: "failed"}

    async def test_abort_requested_and_retried_it_is_cancelled(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        _, run, _ = await begun(store)
        await jobs.cancel_job_by_id_async(run["a"], abort=True)

        await jobs.retry_job_by_id_async(run["a"], datetime.now(UTC))

        assert await outcomes(store) == {run["a"]: "cancelled"}


class TestAJobThatIsRetriedByHand:
    async def test_while_it_runs_it_is_claimed_anew_and_the_first_claim_is_void(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        worker, run, first = await begun(store)

        await jobs.retry_job_by_id_async(run["a"], datetime.now(UTC))

        second = (await worker.claim())["a"]
        assert second.claim > first.claim
        assert await worker.settle(succeeded(first, '"late"')) == [first.id]
        assert await worker.settle(succeeded(second, '"good"')) == []
        assert await store.values([first.id]) == {first.id: '"good"'}

    async def test_for_later_it_is_ready_until_then(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        worker, run, first = await begun(store)
        later = datetime.now(UTC) + timedelta(hours=1)

        await jobs.retry_job_by_id_async(run["a"], later, lock="lane")

        assert await outcomes(store) == {run["a"]: "retried"}
        assert (await statuses(store, run))["a"] is Status.READY
        assert set(await worker.claim()) == {"x"}
        assert await worker.settle(cancelled(first)) == [first.id]

    async def test_a_lock_that_it_was_given_holds_up_nobody(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        await worker.claims()
        for id_ in run.ids.values():
            await jobs.retry_job_by_id_async(id_, datetime.now(UTC), lock="lane")

        await store.reconcile()

        assert set(await worker.claim()) == {"a", "b"}

    async def test_after_it_failed_it_ends_again_and_the_log_says_what_to_run(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await worker.claims()
        await finish(jobs, run["a"], JobStatus.FAILED)
        await store.reconcile()

        await jobs.retry_job_by_id_async(run["a"], datetime.now(UTC))

        (job,) = (await worker.turn()).malformed
        assert (job.job_id, job.ended, job.run_id) == (run["a"], Status.FAILED, run.id)
        assert await jobs.get_job_status_async(run["a"]) is JobStatus.FAILED
        assert (await statuses(store, run))["a"] is Status.FAILED

    async def test_cancelling_its_run_then_ends_it(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        _, run, _ = await begun(store)
        await jobs.retry_job_by_id_async(run["a"], datetime.now(UTC))

        await store.cancel_run(run.id)

        assert await run_status(store, run) is RunStatus.CANCELLED
