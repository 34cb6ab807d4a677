"""What others do to our jobs, through procrastinate or by hand, strands no run."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import procrastinate
import pytest
from procrastinate.jobs import Job
from procrastinate.jobs import Status as JobStatus
from procrastinate.manager import JobManager

from flowstone import FlowStone, Pipeline
from flowstone.core.status import RunStatus, Status
from flowstone.engine import triggers
from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    Worker,
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
from tests.application.stage import woken

NOTES = "SELECT count(*) FROM flowstone.flowstone_interventions"
COUNTERS = "SELECT open_count, failed_count, cancelled_count FROM flowstone.flowstone_runs"
ROWS_READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
"""
PRUNE_ALL = "SELECT procrastinate_prune_stalled_workers_v1(0)"


@pytest.fixture(params=["batched", "stock"])
def triggers_of(request: pytest.FixtureRequest, dsn: str) -> str:
    if request.param == "stock":
        triggers.restore(dsn)
    return str(request.param)


@pytest.fixture
async def store(dsn: str, triggers_of: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def others(dsn: str, triggers_of: str) -> AsyncIterator[procrastinate.App]:
    """An application of procrastinate's on the same tables."""
    app = procrastinate.App(connector=AsyncpgConnector(dsn))
    async with app.open_async():
        yield app


@pytest.fixture
def jobs(others: procrastinate.App) -> JobManager:
    return others.job_manager


@pytest.fixture(autouse=True)
async def pg_in_schema(pg: asyncpg.Connection) -> None:
    await pg.execute("SET search_path TO flowstone; SET application_name TO 'psql'")


async def outcomes(store: PostgresStore) -> dict[int, str]:
    return {it.materialization_id: it.outcome for it in await store.reconcile()}


async def finish(jobs: JobManager, id_: int, status: JobStatus, *, delete: bool = False) -> None:
    job = Job(id=id_, queue="", lock=None, queueing_lock=None, task_name="")
    await jobs.finish_job(job, status, delete_job=delete)


async def finishes_all(worker: Worker) -> None:
    """Claim and complete until nothing is left."""
    while claims := await worker.claims():
        assert await worker.settle(*map(succeeded, claims)) == []


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


class TestAJobThatAStrangerTook:
    """A worker of procrastinate that takes every queue, and does not know our task."""

    async def taken(self, jobs: JobManager, *, worker_id: int | None = None) -> tuple[int, int]:
        if worker_id is None:
            worker_id = await jobs.register_worker()
        # As a connector of its own sends it: ours fetches nothing of FlowStone's (hence the space).
        job = await jobs.connector.execute_query_one_async(
            "SELECT id FROM procrastinate_fetch_job_v2 (NULL::varchar[], %(worker_id)s)",
            worker_id=worker_id,
        )
        assert job["id"] is not None
        return job["id"], worker_id

    @pytest.mark.parametrize("delete", [False, True])
    @pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.ABORTED, JobStatus.SUCCEEDED])
    async def test_and_gave_up_is_put_back(
        self, store: PostgresStore, jobs: JobManager, status: JobStatus, delete: bool
    ) -> None:
        run = await new_run(store, {"a": [], "b": ["a"]})
        id_, _ = await self.taken(jobs)
        await finish(jobs, id_, status, delete=delete)

        assert await outcomes(store) == {run["a"]: "put_back"}

        await finishes_all(await new_worker(store))
        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_again_and_again_between_attempts_is_put_back_each_time(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        for attempt in (1, 2, 3):
            for _ in range(2):
                id_, _ = await self.taken(jobs)
                await finish(jobs, id_, JobStatus.FAILED)
                assert await outcomes(store) == {run["a"]: "put_back"}
            (claim,) = await worker.claims()
            assert claim.attempt == attempt
            assert await worker.settle(retried(claim)) == []

    async def test_and_was_put_back_can_be_finished_by_hand_after_all(
        self, store: PostgresStore, jobs: JobManager
    ) -> None:
        run = await new_run(store, {"a": []})
        id_, _ = await self.taken(jobs)
        await finish(jobs, id_, JobStatus.FAILED)
        await store.reconcile()

        await finish(jobs, run["a"], JobStatus.FAILED)

        assert await outcomes(store) == {run["a"]: "failed"}

    async def test_after_its_deadline_goes_on_waiting_no_longer(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        (claim,) = await worker.claims()
        await worker.settle(waited(claim, timeout=timedelta(milliseconds=1)))
        for delete in (False, True):
            id_, _ = await self.taken(jobs)
            await finish(jobs, id_, JobStatus.FAILED, delete=delete)
            assert await outcomes(store) == {run["a"]: "put_back"}

        (claim,) = await worker.claims()
        assert claim.wake is not None
        assert claim.wake.timed_out

    async def test_and_lives_is_left_to_him(self, store: PostgresStore, jobs: JobManager) -> None:
        await new_run(store, {"a": []})
        await self.taken(jobs)

        assert await outcomes(store) == {}
        assert await (await new_worker(store)).claims() == []

    async def test_and_died_with_is_put_back(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        await self.taken(jobs)
        await pg.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'"
        )

        assert await outcomes(store) == {run["a"]: "put_back"}

        await finishes_all(await new_worker(store))
        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_whose_worker_was_pruned_is_put_back(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        await self.taken(jobs)
        await pg.execute(PRUNE_ALL)

        assert await outcomes(store) == {run["a"]: "put_back"}

    async def test_and_died_with_after_its_run_was_cancelled_is_not_left_in_doing(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        await self.taken(jobs)
        await store.cancel_run(run.id)
        await pg.execute(PRUNE_ALL)

        await store.reconcile()

        assert await jobs.get_job_status_async(run["a"]) is JobStatus.FAILED
        assert await run_status(store, run) is RunStatus.CANCELLED

    async def test_is_put_back_without_telling_him(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        await new_run(store, {"a": []})
        id_, _ = await self.taken(jobs)
        heard: list[tuple[str, str]] = []
        for channel in ("procrastinate_queue_v1#default", "flowstone#flowstone"):
            await pg.add_listener(
                channel, lambda _, __, channel, payload: heard.append((channel, str(payload)))
            )

        await finish(jobs, id_, JobStatus.FAILED)
        await store.reconcile()
        await pg.fetchval("SELECT 1")

        assert heard == [
            ("flowstone#flowstone", '{"intervention": true}'),
            ("flowstone#flowstone", '{"queue" : "default"}'),
        ]
        await pg.execute("UNLISTEN *")
        await pg.reset()


class TestOurRowThatProcrastinatePruned:
    async def test_we_claim_and_settle_without_it_until_the_next_beat_brings_another(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": []})
        await pg.execute(PRUNE_ALL)

        claims = await worker.claim()
        assert await worker.settle(succeeded(claims["a"])) == []
        assert [job.id for job in await jobs.get_stalled_jobs()] == [run["c"]]
        assert await worker.beat()

        assert list(await jobs.get_stalled_jobs()) == []
        assert await outcomes(store) == {}
        assert await worker.settle(succeeded(claims["c"])) == []
        await finishes_all(worker)
        assert await run_status(store, run) is RunStatus.SUCCEEDED


class TestNotes:
    async def test_our_own_work_leaves_none(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": [], "d": [], "e": []})
        claims = await worker.claim()
        await worker.settle(
            succeeded(claims["a"]),
            retried(claims["c"]),
            waited(claims["d"]),
            cancelled(claims["e"]),
        )
        await store.cancel_run(run.id)
        await new_run(store, {"a": []})
        await worker.claims()
        await store.unregister_worker(worker.id)
        assert (await store.rescue(max_rescues=5)) == []

        assert await pg.fetchval(NOTES) == 0

    async def test_nor_do_others_with_jobs_of_their_own_or_that_have_ended(
        self, store: PostgresStore, others: procrastinate.App, pg: asyncpg.Connection
    ) -> None:
        await finishes_all(await _with_a_run(store))
        jobs = others.job_manager
        for _ in range(2):
            await others.configure_task("theirs", queue="q").defer_async()
        id_ = (await jobs.fetch_job(["q"], await jobs.register_worker())).id  # type: ignore[union-attr]
        await finish(jobs, id_ or 0, JobStatus.FAILED)
        await pg.execute("DELETE FROM procrastinate_jobs")

        assert await pg.fetchval(NOTES) == 0

    async def test_are_gone_when_they_were_seen_to(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        await jobs.cancel_job_by_id_async(run["a"])
        assert await pg.fetchval(NOTES) == 1

        await store.reconcile()

        assert await pg.fetchval(NOTES) == 0
        assert await outcomes(store) == {}

    async def test_of_a_job_that_somebody_holds_are_kept_for_the_next_time(
        self, store: PostgresStore, jobs: JobManager, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": [], "b": []})
        for name in "ab":
            await jobs.cancel_job_by_id_async(run[name])
        async with pg.transaction():
            await pg.execute("SELECT FROM procrastinate_jobs WHERE id = $1 FOR UPDATE", run["a"])
            assert await outcomes(store) == {run["b"]: "cancelled"}

        assert await outcomes(store) == {run["a"]: "cancelled"}

    async def test_more_than_one_transaction_takes_are_seen_to_in_several(
        self, store: PostgresStore, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowstone.engine.store.MOST_NOTES", 2)
        run = await new_run(store, {name: [] for name in "abcde"})
        await pg.execute("UPDATE procrastinate_jobs SET status = 'cancelled'")

        assert [len(await store.reconcile()) for _ in range(4)] == [2, 2, 1, 0]
        assert await run_status(store, run) is RunStatus.CANCELLED

    async def test_are_written_for_a_role_that_may_not_see_our_tables(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        run = await new_run(store, {"a": []})
        role = f"stranger_{await pg.fetchval('SELECT current_database()')}"
        await pg.execute(f"CREATE ROLE {role}")
        try:
            await pg.execute(
                f"GRANT USAGE ON SCHEMA flowstone TO {role};"
                f"GRANT ALL ON procrastinate_jobs, procrastinate_events TO {role};"
                f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA flowstone TO {role}"
            )
            async with pg.transaction():
                await pg.execute(f"SET LOCAL ROLE {role}")
                await pg.execute("UPDATE procrastinate_jobs SET status = 'cancelled'")
        finally:
            await pg.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

        assert await outcomes(store) == {run["a"]: "cancelled"}

    async def test_cost_nothing_when_there_are_none_however_much_waits(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await pg.execute(
            """
            INSERT INTO procrastinate_jobs (id, queue_name, task_name)
            SELECT i, 'q', 'flowstone:materialize' FROM generate_series(100001, 120000) i;
            INSERT INTO flowstone_materializations (
                id, run_id, asset, partition, queue, priority, status, unmet, inputs, follows,
                dependents, optional_dependents, reason
            )
            SELECT i, 1, 'a', i, 'q', 0, 'ready', 0, '{}', '{}', '{}', '{}', ''
            FROM generate_series(100001, 120000) i
            """
        )
        async with pg.transaction():
            before = await pg.fetchval(ROWS_READ)  # what is not reported yet counts, too
            assert await pg.fetch("SELECT * FROM flowstone_reconcile_v1(1000)") == []

            assert await pg.fetchval(ROWS_READ) == before


async def test_a_worker_that_starts_sees_to_what_nobody_has_heard_of(
    dsn: str, jobs: JobManager
) -> None:
    p = Pipeline("p")
    one = p.asset(name="one")(lambda: 1)
    async with FlowStone(p, dsn=dsn) as app:
        handle = await app.enqueue(one)
        id_, _ = await TestAJobThatAStrangerTook().taken(jobs)
        await finish(jobs, id_, JobStatus.FAILED)

        async with woken(app):
            assert await handle.result(timeout=10) == 1


async def _with_a_run(store: PostgresStore) -> Worker:
    await new_run(store, {"a": [], "b": ["a"]})
    return await new_worker(store)
