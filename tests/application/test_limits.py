"""``ctx.limit``: what bodies hold while they run, shared by all workers, never kept by the dead."""

import asyncio

import pytest

from flowstone import Context, FlowStone, JobContext, Limit, Pipeline, Retry
from flowstone.core.errors import InvalidOptionError, LimitTimeoutError, UnknownLimitError
from flowstone.core.rate import Rate, parse
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from tests.application.stage import Stage

API = "shop-api"


class Peak:
    """How many are inside at once, and were at the most."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    def __enter__(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        self.inside -= 1


async def drain(app: FlowStone, slots: int = 8) -> None:
    await app.worker(WorkerOptions(queues={"default": slots}, drain=True)).run()


async def drain_by_two(app: FlowStone) -> None:
    await asyncio.gather(drain(app), drain(app))


@pytest.mark.conformance(427)
async def test_no_more_are_inside_than_there_are_slots(stage: Stage) -> None:
    p, peak = Pipeline("p"), Peak()

    @p.job
    async def call(ctx: JobContext, number: int) -> int:
        async with ctx.limit(API):
            with peak:
                await asyncio.sleep(0)
                return number

    async with stage.build(p, limits={API: Limit(slots=2)}) as app:
        jobs = await app.enqueue_many([call.with_(number) for number in range(20)])
        await drain_by_two(app)

        assert [await job.result(timeout="60s") for job in jobs] == list(range(20))
        assert 1 <= peak.most <= 2
        assert (await app.limits.status(API)).taken == 0


async def test_an_asset_holds_one_too(stage: Stage) -> None:
    p = Pipeline("p")

    @p.asset
    async def page(ctx: Context) -> int:
        async with ctx.limit(API):
            return (await app.limits.status(API)).taken

    async with stage.build(p, limits={API: Limit(slots=1)}) as app:
        assert await app.run(page) == 1


@pytest.mark.conformance(430)
async def test_what_raises_inside_gives_back_what_it_held(stage: Stage) -> None:
    p = Pipeline("p")

    @p.job(retry=1)
    async def call(ctx: JobContext, fails: bool) -> str:
        async with ctx.limit(API, max_wait=0):
            if fails:
                raise ValueError("no")
        return "done"

    async with stage.build(p, limits={API: Limit(slots=1)}) as app:
        bad = await app.enqueue(call.with_(fails=True))
        await drain(app)
        good = await app.enqueue(call.with_(fails=False))
        await drain(app)

        assert (await bad.status()).status is Status.FAILED
        assert await good.result(timeout="60s") == "done"


async def test_who_waits_too_long_fails_in_a_way_that_is_tried_again(stage: Stage) -> None:
    p = Pipeline("p")

    @p.job(retry=Retry(3, base="1h"))
    async def call(ctx: JobContext) -> None:
        async with ctx.limit(API, max_wait=0.05):
            pass

    async with stage.build(p, limits={API: Limit(rate="1/h")}) as app:
        assert await app.limits.check(API) is None
        job = await app.enqueue(call.with_())
        await drain(app)

        [attempt] = await job.failed_attempts()
        assert LimitTimeoutError.code in attempt.error
        assert (await job.status()).status is Status.READY


async def test_rates_are_asked_and_reset_from_outside(stage: Stage) -> None:
    async with stage.build(Pipeline("p"), limits={API: Limit(rate="2/h")}) as app:
        assert [await app.limits.check(API) for _ in range(2)] == [None, None]
        wait = await app.limits.check(API)
        assert wait is not None
        assert wait.total_seconds() > 3500
        status = await app.limits.status(API)
        assert (status.used, status.remaining, status.utilization) == (2, 0, 100.0)

        await app.limits.reset(API)
        assert await app.limits.check(API) is None


async def test_what_is_set_at_run_time_wins_over_the_code(stage: Stage) -> None:
    async with stage.build(Pipeline("p"), limits={API: Limit(slots=1)}) as app:
        await app.limits.set(API, Limit(slots=9, rate=Rate(5, parse("1/m").per)))
        await app.limits.set("mail", Limit(rate="1/s"))

        values = {it.name: it.values for it in await app.limits.list()}
        assert (values[API].slots, values[API].rate) == (9, parse("5/m"))
        assert values["mail"].slots is None
        assert await app.limits.remove("mail")
        assert [it.name for it in await app.limits.list()] == [API]


async def test_an_unknown_one_names_those_that_there_are(stage: Stage) -> None:
    async with stage.build(Pipeline("p"), limits={API: Limit(slots=1)}) as app:
        with pytest.raises(UnknownLimitError, match="Did you mean 'shop-api'"):
            await app.limits.status("shop-apo")
        with pytest.raises(UnknownLimitError):
            await app.limits.check("other")


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        (Limit(), "needs slots=, rate="),
        (Limit(slots=0), "slots=0 must be a whole number above 0"),
        (Limit(rate="often"), "rate='often' is not a rate"),
        (5, "must be a Limit"),
    ],
)
def test_what_is_no_limit_is_refused(limit: Limit, why: str) -> None:
    with pytest.raises(InvalidOptionError, match=why):
        FlowStone(Pipeline("p"), limits={API: limit})


async def test_a_context_made_by_hand_limits_nothing() -> None:
    async with JobContext(job="p.call", job_id=1).limit(API):
        pass
