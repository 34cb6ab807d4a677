"""A stock procrastinate App works through the connector, in a schema of its own."""

from datetime import UTC, datetime, timedelta

import procrastinate
import pytest
from procrastinate import exceptions
from procrastinate.jobs import Status

from tests.engine.connector.stock_worker import status_of, worker


class TestAStockApp:
    async def test_defers_and_runs_a_job_with_its_arguments(self, app: procrastinate.App) -> None:
        seen: list[object] = []

        @app.task(name="remember")
        async def remember(**arguments: object) -> None:
            seen.append(arguments)

        arguments = {"number": 1, "list": [1, {"a": None}], "text": "ä %s $1 %% '\""}
        job_id = await remember.defer_async(**arguments)
        await worker(app, wait=False)

        assert seen == [arguments]
        assert await status_of(app, job_id) is Status.SUCCEEDED

    async def test_defers_many_at_once_in_their_order(self, app: procrastinate.App) -> None:
        seen: list[int] = []

        @app.task(name="remember")
        async def remember(number: int) -> None:
            seen.append(number)

        ids = await remember.batch_defer_async(*({"number": number} for number in range(20)))
        await worker(app, wait=False)

        assert ids == sorted(ids)
        assert seen == list(range(20))

    @pytest.mark.parametrize("lock", ["once", "with (brackets) and \n a line", "=(x)"])
    async def test_a_queueing_lock_that_is_taken_is_already_enqueued(
        self, app: procrastinate.App, lock: str
    ) -> None:
        @app.task(name="unique")
        async def unique() -> None: ...

        await unique.configure(queueing_lock=lock).defer_async()
        with pytest.raises(exceptions.AlreadyEnqueued) as caught:
            await unique.configure(queueing_lock=lock).defer_async()

        assert isinstance(caught.value.__cause__, exceptions.UniqueViolation)
        assert caught.value.__cause__.queueing_lock == lock

    async def test_a_failing_job_is_retried_and_then_fails(self, app: procrastinate.App) -> None:
        attempts: list[int] = []

        @app.task(name="fails", retry=2, pass_context=True)
        async def fails(context: procrastinate.JobContext) -> None:
            attempts.append(context.job.attempts)
            raise RuntimeError

        job_id = await fails.defer_async()
        await worker(app, wait=False)

        assert attempts == [0, 1, 2]
        assert await status_of(app, job_id) is Status.FAILED

    async def test_a_scheduled_job_waits_for_its_date(self, app: procrastinate.App) -> None:
        @app.task(name="later")
        async def later() -> None: ...

        date = datetime.now(UTC) + timedelta(days=1)
        job_id = await later.configure(schedule_at=date).defer_async()
        await worker(app, wait=False)

        assert await status_of(app, job_id) is Status.TODO
        (job,) = await app.job_manager.list_jobs_async(id=job_id)
        assert job.scheduled_at == date

    async def test_cancels_a_waiting_job(self, app: procrastinate.App) -> None:
        @app.task(name="never")
        async def never() -> None:
            raise AssertionError

        job_id = await never.defer_async()

        assert await app.job_manager.cancel_job_by_id_async(job_id)
        await worker(app, wait=False)
        assert await status_of(app, job_id) is Status.CANCELLED
        assert not await app.job_manager.cancel_job_by_id_async(job_id)

    async def test_a_periodic_task_is_deferred_once_per_tick(self, app: procrastinate.App) -> None:
        @app.task(name="tick")
        async def tick(timestamp: int) -> None: ...

        job = tick.configure(task_kwargs={"timestamp": 60}).job
        first = await app.job_manager.defer_periodic_job(job, "", 60)
        second = await app.job_manager.defer_periodic_job(job, "", 60)

        assert first is not None
        assert second is None

    async def test_lists_counts_and_prunes(self, app: procrastinate.App) -> None:
        @app.task(name="count", queue="q", lock="l")
        async def count() -> None: ...

        await count.defer_async()
        manager = app.job_manager
        assert [queue["name"] for queue in await manager.list_queues_async()] == ["q"]
        assert [task["todo"] for task in await manager.list_tasks_async()] == [1]
        assert [lock["name"] for lock in await manager.list_locks_async()] == ["l"]
        await worker(app, wait=False)

        await manager.delete_old_jobs(nb_hours=0, queue="q", include_failed=True)
        assert list(await manager.list_jobs_async()) == []
        assert list(await manager.get_stalled_jobs(queue="q")) == []
        with pytest.warns(DeprecationWarning, match="nb_seconds"):
            assert list(await manager.get_stalled_jobs(nb_seconds=1)) == []
        assert await manager.prune_stalled_workers(0.5) == []
