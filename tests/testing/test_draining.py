"""What is due, run until nothing is."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from flowstone import Dep, FlowStone, JobContext, Pipeline, Retry, Snooze
from flowstone.core.errors import InvalidOptionError
from flowstone.core.status import RunStatus, Status
from flowstone.testing import Applications, Drained, advance, drain
from tests.testing.a_shop import an_app, ends, send_mail, working

pytestmark = pytest.mark.flowstone_both


async def status(app: FlowStone, *ids: int) -> list[Status]:
    found = await app.store.jobs(ids)
    return [found[id_].status for id_ in ids]


async def test_everything_that_is_due_runs_whatever_its_queue(
    flowstone_app: Applications,
) -> None:
    async with flowstone_app(an_app()) as app:
        await app.enqueue(send_mail.with_("Ada"))
        for how in ("well", "well", "snooze", "cancel", "skip", "fail"):
            await app.enqueue(ends.with_(how))

        drained = await drain(app)

        assert drained == Drained(succeeded=3, snoozed=1, cancelled=1, skipped=1, retried=1)
        assert drained.total == 7
        assert await drain(app) == Drained()


async def test_a_queue_that_only_an_enqueueing_has_named_is_drained_too(
    flowstone_app: Applications,
) -> None:
    shop = Pipeline("shop")

    @shop.asset
    async def orders() -> int:
        return 1

    @shop.job
    async def note() -> None: ...

    async with flowstone_app(shop) as app:
        await app.enqueue(orders, queue="once")
        await app.enqueue(note.with_(), queue="twice")

        assert await drain(app) == Drained(succeeded=2)


async def test_only_the_queues_that_are_named_are_drained(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        mail = await app.enqueue(send_mail.with_("Ada"))
        other = await app.enqueue(ends.with_("well"))

        assert await drain(app, "mail") == Drained(succeeded=1)
        assert await status(app, mail.job_id, other.job_id) == [Status.SUCCEEDED, Status.READY]


async def test_what_jobs_enqueue_meanwhile_is_run(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")
    ran: list[int] = []

    @shop.job
    async def count(left: int) -> None:
        ran.append(left)
        if left:
            await app.enqueue(count.with_(left - 1), queue=f"queue_{left}")

    async with flowstone_app(shop) as app:
        await app.enqueue(count.with_(3))

        assert await drain(app) == Drained(succeeded=4)
        assert ran == [3, 2, 1, 0]


async def test_a_run_of_assets_is_computed(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")

    @shop.asset
    async def orders() -> list[int]:
        return [1, 2]

    @shop.asset
    def total(orders: list[int] = Dep(orders)) -> int:
        return sum(orders)

    async with flowstone_app(shop) as app:
        run = await app.enqueue(total)

        assert await drain(app) == Drained(succeeded=2)
        assert await run.result(timeout="60s") == 3


async def test_one_begins_when_the_one_before_has_ended(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")
    under_way: list[int] = []
    most = 0

    @shop.job
    def work(number: int) -> None:
        nonlocal most
        under_way.append(number)
        most = max(most, len(under_way))
        under_way.remove(number)

    async with flowstone_app(shop) as app:
        await app.enqueue_many([work.with_(number) for number in range(20)])

        assert await drain(app) == Drained(succeeded=20)
        assert most == 1


async def test_a_limit_leaves_the_rest_as_it_was(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        jobs = await app.enqueue_many([ends.with_("well") for _ in range(9)])
        ids = [job.job_id for job in jobs]

        assert await drain(app, limit=4, concurrency=8) == Drained(succeeded=4)

        found = await app.store.jobs(ids)
        assert sorted((it.status, it.attempt) for it in found.values()) == sorted(
            [(Status.SUCCEEDED, 1)] * 4 + [(Status.READY, 0)] * 5
        )
        assert await drain(app) == Drained(succeeded=5)


class TestWhatIsScheduled:
    async def test_is_left_for_later(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(ends.with_("well"), delay="1d")

            assert await drain(app) == Drained()

    async def test_runs_when_time_may_be_moved(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            later = await app.enqueue(ends.with_("well"), delay="30d")
            sooner = await app.enqueue(ends.with_("well"), delay="1d")

            assert await drain(app, with_scheduled=True, limit=1) == Drained(succeeded=1)
            assert await status(app, sooner.job_id, later.job_id) == ["succeeded", "ready"]
            assert await drain(app, with_scheduled=True) == Drained(succeeded=1)
            assert await status(app, later.job_id) == ["succeeded"]

    async def test_is_retried_until_its_policy_gives_up(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            job = await app.enqueue(ends.with_("fail"))

            assert await drain(app, with_scheduled=True) == Drained(retried=2, failed=1)
            assert await status(app, job.job_id) == ["failed"]

    async def test_may_snooze_and_go_on(self, flowstone_app: Applications) -> None:
        shop = Pipeline("shop")
        calls: list[int] = []

        @shop.job
        async def patient(ctx: JobContext) -> Snooze | Literal["done"]:
            calls.append(ctx.attempt)
            return "done" if len(calls) == 3 else Snooze("1d")

        async with flowstone_app(shop) as app:
            job = await app.enqueue(patient.with_())

            assert await drain(app, with_scheduled=True) == Drained(snoozed=2, succeeded=1)
            assert calls == [1, 1, 1]
            assert await job.result(timeout="60s") == "done"

    async def test_is_not_waited_for_beyond_what_is_unknown(
        self, flowstone_app: Applications
    ) -> None:
        others, ours = Pipeline("others"), Pipeline("ours")

        @others.job
        async def theirs() -> None: ...

        @ours.job
        async def mine() -> None: ...

        async with flowstone_app(others) as other, flowstone_app(ours) as app:
            await other.enqueue(theirs.with_(), queue="theirs")
            await app.enqueue(mine.with_(), delay="1h")

            with pytest.raises(AssertionError, match=r"\(others\.theirs\): give it the pipeline"):
                await drain(app, ["default", "theirs"], with_scheduled=True)
            await advance(app, "1m")
            assert await drain(app, "theirs") == Drained(unknown=1)
            assert await drain(app, "default", with_scheduled=True) == Drained(succeeded=1)


async def test_a_queue_that_is_paused_is_left_alone(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        await app.enqueue(ends.with_("well"), delay="1h")
        await app.enqueue(send_mail.with_("Ada"), delay="2h")
        await app.queues.pause("default")

        assert await drain(app, with_scheduled=True) == Drained(succeeded=1)
        await app.queues.resume("default")
        assert await drain(app, with_scheduled=True) == Drained(succeeded=1)


async def test_a_rate_is_kept_though_time_is_moved(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        await app.queues.limit("default", rate="2/1h")
        await app.enqueue_many([ends.with_("well")] * 5)

        assert await drain(app) == Drained(succeeded=2)
        assert await drain(app, with_scheduled=True) == Drained(succeeded=3)


async def test_what_others_hold_back_is_not_waited_for(flowstone_app: Applications) -> None:
    held = Pipeline("held")
    began, go = asyncio.Event(), asyncio.Event()

    @held.job
    async def hold() -> None:
        began.set()
        await go.wait()

    async with flowstone_app(held) as app:
        await app.queues.limit("default", max_running=1)
        async with working(app):
            first = await app.enqueue(hold.with_())
            await asyncio.wait_for(began.wait(), 10)
            await app.enqueue(hold.with_())

            assert await drain(app) == Drained()
            assert await drain(app, with_scheduled=True) == Drained()
            go.set()
            await first.result(timeout="60s")


class TestAFailure:
    async def test_is_counted_and_told_only_when_asked(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(ends.with_("fail"))
            await app.enqueue(ends.with_("well"))

            assert await drain(app) == Drained(retried=1, succeeded=1)

    async def test_is_raised_when_all_is_done(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(ends.with_("fail"))
            well = await app.enqueue(ends.with_("well"))

            with pytest.raises(ConnectionError, match="the post is away"):
                await drain(app, raise_on_failure=True)
            assert await status(app, well.job_id) == ["succeeded"]


async def test_what_never_ends_is_told(
    flowstone_app: Applications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowstone.testing.draining.MOST", 20)
    shop = Pipeline("shop")

    @shop.job
    async def again() -> None:
        await app.enqueue(again.with_())

    async with flowstone_app(shop) as app:
        await app.enqueue(again.with_())

        with pytest.raises(AssertionError, match=r"shop\.again.*does it enqueue itself"):
            await drain(app)


@pytest.mark.parametrize("option", ["limit", "concurrency"])
async def test_a_number_of_attempts_is_one(option: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"{option}=0"):
        await drain(FlowStone(Pipeline("p")), **{option: 0})


async def test_an_asset_that_is_retried_is_due_later(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")

    @shop.asset(retry=Retry(2, base="1h", jitter=0))
    async def flaky() -> int:
        raise ConnectionError

    async with flowstone_app(shop) as app:
        await app.enqueue(flaky)

        assert await drain(app) == Drained(retried=1)
        await advance(app, timedelta(hours=1))
        assert await drain(app) == Drained(failed=1)
        (run,) = await app.store.runs()
        assert run.status is RunStatus.FAILED
