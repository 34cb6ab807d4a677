"""Leaving work to workers: what is written, for when, and for which of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowstone import Context, Dep, Pipeline
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import InvalidOptionError
from tests.application.conftest import AppOf, on_postgres
from tests.application.reports import NASTY, pipeline
from tests.application.stage import (
    PostgresStage,
    Stage,
    drain,
    statuses,
    working,
)


class TestHandOver:
    @pytest.mark.conformance(173)
    async def test_the_handle_is_there_at_once_and_the_value_afterwards(
        self, app_of: AppOf
    ) -> None:
        computed: list[str] = []
        app = await app_of(pipeline(computed))

        handle = await app.enqueue("report", partition="x")

        assert handle.created
        assert (await handle.status()).status == "running"
        assert await statuses(app, handle.run_id) == {"base[x]": "ready", "report[x]": "pending"}
        assert computed == []

        await drain(app)

        assert computed == ["base x", "report"]
        assert await handle.result() == "report on base of x"
        assert await app.get("report", partition="x") == "report on base of x"

    async def test_another_application_does_the_work(self, app_of: AppOf) -> None:
        app, worker = await app_of(pipeline()), await app_of(pipeline())
        handle = await app.enqueue_many(["base", "report"])

        await drain(worker)

        assert await handle.result() == ["base of None", "report on base of None"]

    async def test_a_whole_pipeline_is_one_run(self, app_of: AppOf) -> None:
        p, computed = Pipeline("p"), []

        @p.asset
        async def shared() -> int:
            computed.append("shared")
            return 1

        @p.asset
        async def left(shared: int = Dep(shared)) -> int:
            return shared + 1

        @p.asset
        async def right(shared: int = Dep(shared)) -> int:
            return shared + 2

        app = await app_of(p)
        handle = await app.enqueue_many(p)
        await drain(app)

        assert await handle.result() == [1, 2, 3]
        assert computed == ["shared"]

    async def test_one_asset_is_a_list_of_one(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        by_itself = await app.enqueue_many(app.definitions.get("base"))  # type: ignore[arg-type]
        by_name = await app.enqueue_many("base", partition="x")

        await drain(app)
        assert await by_itself.result() == ["base of None"]
        assert await by_name.result() == ["base of x"]

    @pytest.mark.conformance(141)
    async def test_none_means_the_default_everywhere(self, app_of: AppOf) -> None:
        p = Pipeline("p", queue="etl", priority=3)
        p.asset(name="it", io="lake")(lambda: 1)
        app = await app_of(p, io={"lake": MemoryIO()})

        handle = await app.enqueue(
            "it",
            partition=None,
            io=None,
            config=None,
            queue=None,
            priority=None,
            dedupe=None,
            at=None,
            conn=None,
        )
        await drain(app, etl=1)

        assert await handle.result() == 1
        assert (await app.status("it")).io == "lake"

    @pytest.mark.conformance(133)
    async def test_a_run_without_options_uses_the_assets_own(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("base")

        assert (await handle.status()).options is None
        await drain(app)
        assert await handle.result() == "base of None"

    async def test_partitions_and_one_partition_do_not_go_together(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match="partition= or over="):
            await app.enqueue_many(["base"], over=["a"], partition="b")

    @pytest.mark.parametrize("over", ["abc", 5], ids=repr)
    async def test_what_is_no_list_of_partitions_is_refused(self, app_of: AppOf, over: Any) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match=r"must be a list of partitions: over=\["):
            await app.enqueue_many(["base"], over=over)

        assert await app.store.runs() == []

    async def test_no_partitions_are_no_work(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        handle = await app.enqueue_many(["base"], over=iter([]))

        assert (await handle.status()).status == "succeeded"
        assert await handle.result() == []

    async def test_an_unknown_option_is_refused(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        for ask in (app.run, app.enqueue, app.enqueue_many, app.plan):
            with pytest.raises(InvalidOptionError, match=r"prioritty=; did you mean priority=\?"):
                await ask(["base"], prioritty=1)  # type: ignore[operator]

        assert await app.store.runs() == []


class TestDedupe:
    @pytest.mark.conformance(134)
    async def test_a_repeat_is_the_first_run_and_is_computed_once(self, app_of: AppOf) -> None:
        computed: list[str] = []
        app = await app_of(pipeline(computed))

        handles = await asyncio.gather(
            *[app.enqueue("base", partition="x", dedupe=NASTY) for _ in range(5)]
        )
        await drain(app)
        again = await app.enqueue("base", partition="x", dedupe=NASTY, force=True)

        assert len({handle.run_id for handle in [*handles, again]}) == 1
        assert sorted(handle.created for handle in handles) == [False] * 4 + [True]
        assert not again.created
        assert computed == ["base x"]
        assert [await handle.result() for handle in handles] == ["base of x"] * 5

    async def test_another_text_is_another_run(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        first, second = [await app.enqueue("base", dedupe=text) for text in ("a", "b")]

        assert first.run_id != second.run_id

    @pytest.mark.parametrize("dedupe", ["", "x" * 1025, "a\0b", 7], ids=ascii)
    async def test_what_is_no_short_text_is_refused(self, app_of: AppOf, dedupe: Any) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match="dedupe"):
            await app.enqueue("base", dedupe=dedupe)

        assert await app.store.runs() == []


class TestWhen:
    async def test_nothing_begins_before_its_time(self, app_of: AppOf, stage: Stage) -> None:
        computed: list[str] = []
        app = await app_of(pipeline(computed))
        handle = await app.enqueue("report", at=datetime.now(UTC) + timedelta(hours=1))

        await drain(app)
        await stage.advance("59m")
        await drain(app)
        assert computed == []

        await stage.advance("2m")
        await drain(app)
        assert await handle.result() == "report on base of None"

    async def test_a_worker_that_waits_begins_in_time(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(pipeline())
        async with working(app):
            handle = await app.enqueue("base", at=datetime.now(UTC) + timedelta(hours=1))
            await stage.advance("1h")

            assert await handle.result(60) == "base of None"

    async def test_a_time_that_has_passed_is_now(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("base", at=datetime(2000, 1, 1, tzinfo=UTC))

        await drain(app)

        assert await handle.result() == "base of None"

    @pytest.mark.parametrize("at", [datetime(2030, 1, 1), "tomorrow", 5], ids=repr)
    async def test_what_is_no_instant_is_refused(self, app_of: AppOf, at: Any) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match=r"at=.* must be a datetime with a time zone"):
            await app.enqueue("base", at=at)

        assert await app.store.runs() == []


class TestWhere:
    async def test_a_queue_of_the_call_takes_the_whole_run(self, app_of: AppOf) -> None:
        p = pipeline()
        p.asset(name="elsewhere", queue="gpu")(lambda: 1)
        app = await app_of(p)
        handle = await app.enqueue_many(["report", "elsewhere"], queue=NASTY[:40])

        await drain(app, default=1, gpu=1)
        assert set((await statuses(app, handle.run_id)).values()) == {"ready", "pending"}

        await drain(app, **{NASTY[:40]: 2})
        assert await handle.result() == ["report on base of None", 1]

    async def test_without_one_each_asset_says_where(self, app_of: AppOf) -> None:
        p = Pipeline("p", queue="etl")
        p.asset(name="here")(lambda: 1)
        p.asset(name="there", queue="gpu")(lambda: 2)
        app = await app_of(p)
        handle = await app.enqueue_many(p)

        await drain(app, etl=1)
        assert await statuses(app, handle.run_id) == {"here": "succeeded", "there": "ready"}

        await drain(app, gpu=1)
        assert await handle.result() == [1, 2]

    async def test_a_worker_without_options_serves_every_queue_that_an_asset_names(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")
        p.asset(name="here")(lambda: 1)
        p.asset(name="there", queue="gpu")(lambda: 2)
        app = await app_of(p)
        worker = app.worker()
        task = asyncio.create_task(worker.run())

        handle = await app.enqueue_many(p)

        assert await handle.result(60) == [1, 2]
        worker.stop()
        await task

    async def test_higher_priorities_come_first_and_then_older_work(self, app_of: AppOf) -> None:
        p, order = Pipeline("p"), []

        @p.asset
        async def normal(ctx: Context) -> None:
            order.append(f"normal {ctx.partition}")

        @p.asset(priority=5)
        async def urgent(ctx: Context) -> None:
            order.append(f"urgent {ctx.partition}")

        app = await app_of(p)
        await app.enqueue(normal, partition="1")
        await app.enqueue(normal, partition="2")
        await app.enqueue(urgent, partition="1")
        await app.enqueue(normal, partition="3", priority=9)
        await app.enqueue(urgent, partition="2", priority=-1)

        await drain(app, default=1)

        assert order == ["normal 3", "urgent 1", "normal 1", "normal 2", "urgent 2"]

    @pytest.mark.parametrize(
        "option",
        [{"queue": ""}, {"queue": "x" * 41}, {"queue": 7}, {"priority": 2**31}, {"priority": "1"}],
        ids=repr,
    )
    async def test_what_is_no_queue_or_priority_is_named(
        self, app_of: AppOf, option: dict[str, Any]
    ) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match=next(iter(option))):
            await app.enqueue("base", **option)

        assert await app.store.runs() == []


class TestJobs:
    @on_postgres
    @pytest.mark.conformance(128, 129)
    async def test_a_job_carries_keys_and_nothing_else(
        self, app_of: AppOf, stage: PostgresStage
    ) -> None:
        app = await app_of(pipeline())
        handle = await app.enqueue("base", partition=NASTY, queue="etl", priority=3)

        (job,) = stage.admin.execute(
            "SELECT task_name, queue_name, priority, args FROM procrastinate_jobs"
        ).fetchall()

        arguments = {"run_id": handle.run_id, "asset": "p.base", "partition": NASTY}
        assert job == ("flowstone:materialize", "etl", 3, arguments)
        await drain(app, etl=1)
        assert await handle.result() == f"base of {NASTY}"
