"""What workers make of the work that was left to them."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from flowstone import Pipeline
from flowstone.core.errors import UnknownAssetError
from flowstone.core.worker_options import WorkerOptions
from tests.application.conftest import AppOf, on_postgres
from tests.application.reports import pipeline
from tests.application.stage import (
    PostgresStage,
    Stage,
    drain,
    eventually,
    steps,
    working,
)


class TestWorkers:
    async def test_draining_takes_all_that_is_due_and_then_ends(self, app_of: AppOf) -> None:
        computed: list[str] = []
        app = await app_of(pipeline(computed))
        handle = await app.enqueue_many(["report"], over=range(100))
        later = await app.enqueue("base", at=datetime.now(UTC) + timedelta(days=1))

        await asyncio.wait_for(drain(app, default=7), 20)

        assert (await handle.status()).status == "succeeded"
        assert len(computed) == 200
        assert (await later.status()).status == "running"

    async def test_two_workers_share_the_work_and_do_nothing_twice(self, app_of: AppOf) -> None:
        computed: list[str] = []
        p = pipeline(computed)
        first, second = await app_of(p), await app_of(p)
        handle = await first.enqueue_many(["report"], over=range(60))

        await asyncio.gather(drain(first, default=5), drain(second, default=5))

        assert (await handle.status()).status == "succeeded"
        assert len(computed) == len(set(computed)) + 59 == 120

    async def test_a_stop_hands_back_what_does_not_end_in_time(self, app_of: AppOf) -> None:
        p, began = Pipeline("p"), asyncio.Event()

        @p.asset
        async def endless() -> None:
            began.set()
            await asyncio.Event().wait()

        app = await app_of(p)
        handle = await app.enqueue(endless)
        options = WorkerOptions(queues={"default": 1}, shutdown_timeout=timedelta(0))
        worker = app.worker(options)
        task = asyncio.create_task(worker.run())
        await asyncio.wait_for(began.wait(), 10)

        worker.stop()
        await asyncio.wait_for(task, 10)

        (step,) = (await steps(app, handle.run_id)).values()
        assert (step.status, step.attempt) == ("ready", 0)

    @pytest.mark.conformance(127)
    async def test_an_asset_that_a_worker_does_not_know_is_left_to_another(
        self, app_of: AppOf, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        new = pipeline()
        new.asset(name="brand_new")(lambda: "new")
        app, old = await app_of(new), await app_of(pipeline())
        handle = await app.enqueue_many(["brand_new", "base"])

        with caplog.at_level(logging.WARNING):
            await drain(old)

        assert "Asset p.brand_new is unknown to this worker" in caplog.text
        found = await steps(app, handle.run_id)
        assert found["base"].status == "succeeded"
        assert (found["brand_new"].status, found["brand_new"].attempt) == ("ready", 0)

        await drain(app)
        assert (await steps(app, handle.run_id))["brand_new"].status == "ready"
        await stage.advance("31s")
        await drain(app)
        assert await handle.result() == ["new", "base of None"]
        with pytest.raises(UnknownAssetError):
            await old.get("brand_new")

    @on_postgres
    async def test_a_malformed_job_fails_alone_and_the_worker_goes_on(
        self, app_of: AppOf, stage: PostgresStage, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = await app_of(pipeline())
        arguments = [
            {},
            {"run_id": "x'; --", "asset": 7},
            [1, {"run_id": None}],
            {"run_id": 2**80, "asset": "p.base", "partition": "\u2028"},
        ]
        async with working(app):
            for each in arguments:
                stage.admin.execute(
                    """
                    INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args)
                    VALUES ('default', 'flowstone:materialize', 0, %s::jsonb)
                    """,
                    [json.dumps(each)],
                )
            await eventually(
                lambda: (
                    stage.admin.execute(
                        "SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'"
                    ).fetchone()
                    == (4,)
                )
            )

            assert await (await app.enqueue("report")).result(60) == "report on base of None"

        assert caplog.text.count("belongs to no materialization") == 4
