"""Unique jobs as an application enqueues them, with workers at work."""

import asyncio
import json
from datetime import timedelta

import pytest

from flowstone import FlowStone, JobContext, Pipeline, Retry, Unique
from flowstone.core.errors import InvalidOptionError, JobExistsError
from flowstone.core.status import Status
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, working


class Shop:
    """Jobs that write down what they were called with."""

    def __init__(self, unique: Unique | None) -> None:
        self.pipeline = Pipeline("shop")
        self.done: list[tuple[int, str]] = []

        @self.pipeline.job(unique=unique)
        async def sync(customer: int, why: str = "") -> str:
            self.done.append((customer, why))
            return why

        self.sync = sync


async def test_a_repeat_gets_the_handle_of_the_first_one(app_of: AppOf) -> None:
    shop = Shop(Unique(by=["customer"]))
    app = await app_of(shop.pipeline)
    first = await app.enqueue(shop.sync.with_(1, why="first"))
    again = await app.enqueue(shop.sync.with_(1, why="again"))
    other = await app.enqueue(shop.sync.with_(2))

    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.job_id == first.job_id != other.job_id
    await drain(app)
    assert await again.result(timeout=60) == "first"
    assert sorted(shop.done) == [(1, "first"), (2, "")]


async def test_once_it_has_ended_it_is_enqueued_anew(app_of: AppOf) -> None:
    shop = Shop(Unique())
    app = await app_of(shop.pipeline)
    for _ in range(3):
        assert (await app.enqueue(shop.sync.with_(1))).created
        await drain(app)
    assert len(shop.done) == 3


async def test_many_at_once_are_each_enqueued_once(app_of: AppOf) -> None:
    shop = Shop(Unique(by=["customer"]))
    app = await app_of(shop.pipeline)
    calls = [shop.sync.with_(number % 10, why=str(number)) for number in range(30)]
    handles = await app.enqueue_many(calls)

    assert [it.created for it in handles] == [True] * 10 + [False] * 20
    assert [it.job_id for it in handles] == [it.job_id for it in handles[:10]] * 3
    await drain(app)
    assert sorted(shop.done) == [(number, str(number)) for number in range(10)]


async def test_within_a_window_it_is_done_once(app_of: AppOf, stage: Stage) -> None:
    shop = Shop(Unique(within="10m", states={"waiting", "running", "succeeded"}))
    app = await app_of(shop.pipeline)
    for minutes in (0, 4, 4, 4):
        await stage.advance(timedelta(minutes=minutes))
        await app.enqueue(shop.sync.with_(1))
        await drain(app)
    assert len(shop.done) == 2


async def test_a_flurry_is_put_off_to_its_last_call(app_of: AppOf, stage: Stage) -> None:
    shop = Shop(Unique(by=["customer"], on_conflict="replace"))
    app = await app_of(shop.pipeline)
    for number in range(4):
        handle = await app.enqueue(shop.sync.with_(1, why=str(number)), delay="5m")
        assert (handle.created, handle.replaced) == (number == 0, number > 0)
        await stage.advance("4m")
        await drain(app)
    assert shop.done == []

    await stage.advance("1m")
    await drain(app)
    assert shop.done == [(1, "3")]


async def test_a_conflict_can_be_an_error(app_of: AppOf) -> None:
    shop = Shop(Unique(on_conflict="raise"))
    app = await app_of(shop.pipeline)
    first = await app.enqueue(shop.sync.with_(1))

    with pytest.raises(JobExistsError) as told:
        await app.enqueue_many([shop.sync.with_(2), shop.sync.with_(1)])
    assert told.value.job_id == first.job_id
    assert str(told.value) == (
        f"job 'shop.sync' is unique, and job {first.job_id} holds its key; nothing was enqueued"
    )
    await drain(app)
    assert shop.done == [(1, "")]


async def test_two_that_are_the_same_in_one_call_are_an_error_then(app_of: AppOf) -> None:
    shop = Shop(Unique(on_conflict="raise"))
    app = await app_of(shop.pipeline)
    calls = [shop.sync.with_(it) for it in (1, 2, 1)]
    with pytest.raises(InvalidOptionError, match="calls 0 and 2 of these are the same"):
        await app.enqueue_many(calls)


class TestAJobThatComesBack:
    """procrastinate#1446, #1543, #1432, #1158, #981: a retry meets its twin."""

    async def test_while_its_twin_waits_is_superseded_and_the_worker_goes_on(
        self, app_of: AppOf
    ) -> None:
        pipeline = Pipeline("shop")
        is_running, may_fail = asyncio.Event(), asyncio.Event()
        done: list[int] = []

        @pipeline.job(unique=Unique(states={"waiting"}), retry=Retry(3, base=0))
        async def sync(ctx: JobContext) -> None:
            if not is_running.is_set():
                is_running.set()
                await may_fail.wait()
                raise ConnectionError("nobody there")
            done.append(ctx.attempt)

        @pipeline.job
        async def other() -> str:
            return "done"

        app = await app_of(pipeline)
        first = await app.enqueue(sync.with_())
        async with working(app):
            await is_running.wait()
            # The twin waits for a minute, or it would be done before the first one comes back.
            twin = await app.enqueue(sync.with_(), delay="1m")
            assert twin.created
            may_fail.set()
            record = await first.wait(timeout=60)
            beside = await app.enqueue(other.with_())
            assert await beside.result(timeout=60) == "done"

        assert record.status is Status.CANCELLED
        assert record.error is not None
        assert json.loads(record.error)["job_id"] == twin.job_id
        assert [it.attempt for it in await first.failed_attempts()] == [1]
        assert (await twin.status()).status is Status.READY
        assert done == []


class TestDedupe:
    async def test_a_repeat_returns_the_first_job_for_as_long_as_it_is_kept(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        shop = Shop(None)
        app = await app_of(shop.pipeline)
        first = await app.enqueue(shop.sync.with_(1), dedupe="hook 7")
        await drain(app)
        await stage.advance("6d")
        again = await app.enqueue(shop.sync.with_(2), dedupe="hook 7")
        assert (again.job_id, again.created) == (first.job_id, False)

        await stage.advance("2d")
        assert app.retention is not None
        while not (await app.store.prune(app.retention)).is_done:
            pass
        later = await app.enqueue(shop.sync.with_(3), dedupe="hook 7")
        assert later.created
        await drain(app)
        assert shop.done == [(1, ""), (3, "")]

    async def test_a_repeat_of_many_returns_the_first_ones(self, app_of: AppOf) -> None:
        shop = Shop(None)
        app = await app_of(shop.pipeline)
        calls = [shop.sync.with_(1), shop.sync.with_(1)]
        first = await app.enqueue_many(calls, dedupe="hook 8")
        again = await app.enqueue_many(calls, dedupe="hook 8")

        assert [it.created for it in (*first, *again)] == [True, True, False, False]
        assert [it.job_id for it in again] == [it.job_id for it in first]

    async def test_another_text_is_another_job(self, app_of: AppOf) -> None:
        shop = Shop(None)
        app = await app_of(shop.pipeline)
        handles = [await app.enqueue(shop.sync.with_(1), dedupe=it) for it in "ab"]
        assert all(it.created for it in handles)

    async def test_a_unique_job_has_no_second_key(self, app_of: AppOf) -> None:
        shop = Shop(Unique())
        app = await app_of(shop.pipeline)
        with pytest.raises(InvalidOptionError, match=r"'shop\.sync' has a key already"):
            await app.enqueue(shop.sync.with_(1), dedupe="x")

    async def test_a_text_that_is_none_is_refused(self, app_of: AppOf) -> None:
        shop = Shop(None)
        app: FlowStone = await app_of(shop.pipeline)
        with pytest.raises(InvalidOptionError, match="dedupe='' must be a text of 1 to"):
            await app.enqueue(shop.sync.with_(1), dedupe="")
