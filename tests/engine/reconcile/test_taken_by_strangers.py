"""A job that a stock worker took, and a worker's row that procrastinate pruned, strand no run."""

from datetime import timedelta

import asyncpg
import pytest
from procrastinate.jobs import Status as JobStatus
from procrastinate.manager import JobManager

from flowstone import FlowStone, Pipeline
from flowstone.core.status import RunStatus
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    new_run,
    new_worker,
    retried,
    run_status,
    succeeded,
    waited,
)
from tests.application.stage import woken
from tests.engine.reconcile.meddling import finish, finishes_all, outcomes

PRUNE_ALL = "SELECT procrastinate_prune_stalled_workers_v1(0)"


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
            assert await handle.result(timeout=60) == 1
