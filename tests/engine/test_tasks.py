"""procrastinate's ordinary tasks run on our workers, with the meaning that they have there."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import procrastinate
import pytest
from procrastinate import RetryStrategy, exceptions
from procrastinate.jobs import Status

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.health import Level
from flowstone.core.contracts.service import Service
from flowstone.core.errors import InvalidOptionError
from flowstone.core.status import RunStatus
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.connector import AsyncpgConnector
from flowstone.engine.tasks import ProcrastinateTasks
from tests.scenarios.eventually import eventually

p = Pipeline("p")
began, release = asyncio.Event(), asyncio.Event()


@p.asset
async def one() -> int:
    return 1


@p.asset
async def held() -> None:
    began.set()
    await release.wait()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="procrastinate")


@pytest.fixture
async def tasks(dsn: str) -> AsyncIterator[procrastinate.App]:
    app = procrastinate.App(
        connector=AsyncpgConnector(dsn),
        worker_defaults={"update_heartbeat_interval": 0.1, "fetch_job_polling_interval": 0.2},
    )
    async with app.open_async():
        yield app


@asynccontextmanager
async def working(
    dsn: str,
    tasks: procrastinate.App,
    *,
    queues: Sequence[str] | None = None,
    concurrency: int = 4,
    shutdown_timeout: str = "30s",
) -> AsyncIterator[FlowStone]:
    plugin = ProcrastinateTasks(
        tasks, queues=queues, concurrency=concurrency, shutdown_timeout=shutdown_timeout
    )
    async with FlowStone([p], dsn=dsn, plugins=[plugin]) as app:
        worker = app.worker(WorkerOptions({"default": 2}, lease=timedelta(seconds=3)))
        running = asyncio.create_task(worker.run())
        try:
            yield app
        finally:
            worker.stop()
            await running


async def ended(tasks: procrastinate.App, job_id: int, status: Status) -> None:
    async def has_ended() -> bool:
        return await tasks.job_manager.get_job_status_async(job_id) is status

    await eventually(has_ended)


async def test_tasks_and_assets_run_beside_each_other(dsn: str, tasks: procrastinate.App) -> None:
    told: list[object] = []

    @tasks.task(name="in_loop", queue="default", pass_context=True)
    async def in_loop(context: procrastinate.JobContext, text: str) -> None:
        told.append((context.task.name, text))

    @tasks.task(name="in_thread", queue="others")
    def in_thread(text: str) -> None:
        told.append(text)

    async with working(dsn, tasks, queues=["default", "others"]) as app:
        left = await in_thread.configure(queue="another").defer_async(text="c")
        jobs = [await in_loop.defer_async(text="a"), await in_thread.defer_async(text="b")]
        handle = await app.enqueue(one)

        assert await handle.result(timeout=60) == 1
        for job in jobs:
            await ended(tasks, job, Status.SUCCEEDED)
        assert await tasks.job_manager.get_job_status_async(left) is Status.TODO
    assert sorted(map(str, told)) == ["('in_loop', 'a')", "b"]


async def test_one_that_fails_is_retried_as_its_strategy_says(
    dsn: str, tasks: procrastinate.App, pg: asyncpg.Connection
) -> None:
    @tasks.task(name="shaky", retry=RetryStrategy(max_attempts=2))
    async def shaky() -> None:
        raise ValueError("no")

    async with working(dsn, tasks):
        job = await shaky.defer_async()
        await ended(tasks, job, Status.FAILED)

    attempts = "SELECT attempts FROM flowstone.procrastinate_jobs WHERE id = $1"
    assert await pg.fetchval(attempts, job) == 3


async def test_a_lock_keeps_their_order_and_a_queueing_lock_their_number(
    dsn: str, tasks: procrastinate.App
) -> None:
    began: list[int] = []
    at_once: list[int] = []
    running = 0

    @tasks.task(name="laned", lock="lane")
    async def laned(number: int) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        began.append(number)
        await asyncio.sleep(0)
        running -= 1

    jobs = [await laned.defer_async(number=number) for number in range(5)]
    single = laned.configure(queueing_lock="single", schedule_in={"hours": 1})
    await single.defer_async(number=9)
    with pytest.raises(exceptions.AlreadyEnqueued):
        await single.defer_async(number=9)
    async with working(dsn, tasks):
        for job in jobs:
            await ended(tasks, job, Status.SUCCEEDED)

    assert began == [0, 1, 2, 3, 4]
    assert set(at_once) == {1}


async def test_one_that_runs_is_aborted_on_request(dsn: str, tasks: procrastinate.App) -> None:
    began = asyncio.Event()

    @tasks.task(name="endless")
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    async with working(dsn, tasks):
        job = await endless.defer_async()
        await began.wait()
        await tasks.job_manager.cancel_job_by_id_async(job, abort=True)
        await ended(tasks, job, Status.ABORTED)


async def test_periodic_ones_are_deferred(dsn: str, tasks: procrastinate.App) -> None:
    ticks: list[int] = []

    @tasks.periodic(cron="* * * * * *")
    @tasks.task(name="tick")
    async def tick(timestamp: int) -> None:
        ticks.append(timestamp)

    async with working(dsn, tasks):
        await eventually(lambda: len(ticks) >= 2)

    assert len(set(ticks)) == len(ticks)


async def test_a_stop_waits_for_what_runs_and_takes_no_more(
    dsn: str, tasks: procrastinate.App, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "stop_seconds", 0.0)  # of services that do not say otherwise
    began, release = asyncio.Event(), asyncio.Event()

    @tasks.task(name="held")
    async def held() -> None:
        began.set()
        await release.wait()

    first, second = await held.defer_async(), await held.defer_async()
    async with working(dsn, tasks, concurrency=1):
        await began.wait()
        asyncio.get_running_loop().call_later(0.3, release.set)

    assert await tasks.job_manager.get_job_status_async(first) is Status.SUCCEEDED
    assert await tasks.job_manager.get_job_status_async(second) is Status.TODO
    assert await pg.fetchval("SELECT count(*) FROM flowstone.procrastinate_workers") == 0


async def test_a_worker_that_stops_takes_no_task_while_its_assets_end(
    dsn: str, tasks: procrastinate.App
) -> None:
    @tasks.task(name="late")
    async def late() -> None: ...

    async with FlowStone([p], dsn=dsn, plugins=[ProcrastinateTasks(tasks)]) as app:
        worker = app.worker(WorkerOptions({"default": 2}))
        running = asyncio.create_task(worker.run())
        handle = await app.enqueue(held)
        await began.wait()
        worker.stop()
        job = await late.defer_async()
        asyncio.get_running_loop().call_later(0.5, release.set)  # it polls each 0.2 s
        await running

        assert (await handle.status()).status is RunStatus.SUCCEEDED
    assert await tasks.job_manager.get_job_status_async(job) is Status.TODO


async def test_a_stop_that_waited_long_enough_aborts_what_runs(
    dsn: str, tasks: procrastinate.App
) -> None:
    began = asyncio.Event()

    @tasks.task(name="endless")
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    job = await endless.defer_async()
    async with working(dsn, tasks, shutdown_timeout="100ms"):
        await began.wait()

    assert await tasks.job_manager.get_job_status_async(job) is Status.ABORTED


async def test_when_the_database_refuses_to_hand_out_jobs_it_is_begun_again(
    dsn: str, tasks: procrastinate.App, pg: asyncpg.Connection
) -> None:
    done = asyncio.Event()

    @tasks.task(name="after")
    async def after() -> None:
        done.set()

    async with working(dsn, tasks) as app:
        await eventually(lambda: pg.fetchval(WORKERS))
        async with broken(pg, "flowstone_fetch_task_v1", "(p_queues varchar[], p_worker bigint)"):

            async def is_failing() -> bool:
                findings = (await app.health()).findings
                return any(it.level is Level.FAIL and "tasks" in it.check for it in findings)

            await eventually(is_failing)
        await after.defer_async()

        async with asyncio.timeout(120):
            await done.wait()


async def test_a_heartbeat_that_fails_is_not_the_last_one(
    dsn: str, tasks: procrastinate.App, pg: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="flowstone.engine.tasks")
    async with working(dsn, tasks):
        await eventually(lambda: pg.fetchval(WORKERS))
        async with broken(pg, "procrastinate_update_heartbeat_v1", "(worker_id bigint)"):
            await eventually(lambda: "Heartbeat of procrastinate's worker failed" in caplog.text)
        now = await pg.fetchval("SELECT clock_timestamp()")

        await eventually(lambda: pg.fetchval(f"SELECT min(last_heartbeat) > $1 {ALL}", now))


@asynccontextmanager
async def broken(pg: asyncpg.Connection, name: str, arguments: str) -> AsyncIterator[None]:
    """Let a function fail for a while."""
    stock = await pg.fetchval(f"SELECT pg_get_functiondef('flowstone.{name}'::regproc)")
    returns = await pg.fetchval(f"SELECT pg_get_function_result('flowstone.{name}'::regproc)")
    await pg.execute("SET search_path TO flowstone")
    await pg.execute(
        f"CREATE OR REPLACE FUNCTION {name}{arguments} RETURNS {returns} LANGUAGE plpgsql "
        "AS 'BEGIN RAISE ''no''; END'"
    )
    yield
    await pg.execute(stock)


ALL = "FROM flowstone.procrastinate_workers"
WORKERS = f"SELECT count(*) = 2 {ALL}"


def test_an_application_on_another_connector_is_refused() -> None:
    tasks = procrastinate.App(connector=procrastinate.PsycopgConnector())

    with pytest.raises(InvalidOptionError, match=r"PsycopgConnector; write: procrastinate.App\("):
        ProcrastinateTasks(tasks)
