"""Queues while workers run: what is said takes effect at once, on both stores."""

import asyncio
import threading
from collections import Counter
from datetime import timedelta

import pytest

from flowstone import FlowStone, JobContext, Pipeline, Queue, Retry, Unique
from flowstone.core.contracts.queues import QueueLimits
from flowstone.core.errors import DefinitionError, InvalidOptionError, QueueNotDrainedError
from flowstone.core.rate import Rate
from flowstone.core.status import Status
from flowstone.core.worker_options import WorkerOptions
from tests.application.conftest import on_postgres
from tests.application.stage import PostgresStage, Stage, drain, eventually, woken

shop = Pipeline("shop")


class Floor:
    """Who is at work, and what has been done; jobs stay until they are let go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    async def stay(self, queue: str) -> None:
        self.inside[queue] += 1
        self.most[queue] = max(self.most[queue], self.inside[queue])
        try:
            await self.open.wait()
            await asyncio.sleep(0)
        finally:
            self.inside[queue] -= 1
        self.done[queue] += 1


floor = Floor()
meeting = threading.Barrier(1)


@shop.job(queue="mail")
async def send(ctx: JobContext) -> None:
    await floor.stay("mail")


@shop.asset(queue="mail")
async def letter() -> int:
    await floor.stay("mail")
    return 1


@shop.job(queue="hooks")
def together() -> int:
    return meeting.wait(60)


@pytest.fixture(autouse=True)
def a_new_floor() -> None:
    floor.__init__()  # type: ignore[misc]


async def enqueue(app: FlowStone, count: int) -> None:
    await app.enqueue_many([send.with_() for _ in range(count)])


class TestPausing:
    async def test_what_waits_begins_with_the_resume(self, stage: Stage) -> None:
        app = await stage.app(shop)
        async with woken(app, mail=5) as worker:
            await worker.wait_idle()  # a turn that had begun before might not know of the pause
            await app.queues.pause("mail")
            await enqueue(app, 2)
            await app.enqueue(together.with_())
            async with woken(app, hooks=5):
                await app.queues.drain("hooks", timeout=10)
            assert (await app.queues.status("mail")).due == 2
            assert floor.inside["mail"] == 0

            await app.queues.resume("mail")
            await eventually(lambda: floor.inside["mail"] == 2)
            floor.open.set()

    async def test_what_runs_goes_on_and_is_drained(self, stage: Stage) -> None:
        app = await stage.app(shop)
        await enqueue(app, 4)
        async with woken(app, mail=2):
            await eventually(lambda: floor.inside["mail"] == 2)
            await app.queues.pause("mail")
            with pytest.raises(QueueNotDrainedError, match="2 run, 2 are due"):
                await app.queues.drain("mail", timeout=0.1)
            floor.open.set()
            await app.queues.drain("mail", timeout=10)
            assert (floor.done["mail"], (await app.queues.status("mail")).due) == (2, 2)

    async def test_app_run_waits_for_the_resume(self, stage: Stage) -> None:
        app = await stage.app(shop)
        floor.open.set()
        await app.queues.pause("mail")
        running = asyncio.create_task(app.run(letter))
        await eventually(lambda: _is_due(app))
        await app.queues.resume("mail")
        assert await asyncio.wait_for(running, 10) == 1

    async def test_a_worker_that_drains_stops_at_a_paused_queue(self, stage: Stage) -> None:
        app = await stage.app(shop)
        await enqueue(app, 1)
        await app.queues.pause("mail")
        await asyncio.wait_for(drain(app, mail=5), 10)
        assert (await app.queues.status("mail")).due == 1


class TestLimits:
    async def test_max_running_holds_over_workers_and_all_of_it_is_done(self, stage: Stage) -> None:
        app = await stage.app(shop)
        await app.queues.limit("mail", max_running=3)
        await enqueue(app, 8)
        await app.enqueue(letter)
        async with woken(app, mail=5), woken(app, mail=5):
            await eventually(lambda: floor.inside["mail"] == 3)
            floor.open.set()
            await app.queues.drain("mail", timeout=20)
        assert (floor.most["mail"], floor.done["mail"]) == (3, 9)

    async def test_a_higher_one_counts_at_once(self, stage: Stage) -> None:
        app = await stage.app(shop)
        await app.queues.limit("mail", max_running=1)
        await enqueue(app, 5)
        async with woken(app, mail=20):
            await eventually(lambda: floor.inside["mail"] == 1)
            await app.queues.limit("mail", max_running=4)
            await eventually(lambda: floor.inside["mail"] == 4)
            await app.queues.limit("mail", max_running=None)
            await eventually(lambda: floor.inside["mail"] == 5)
            floor.open.set()

    async def test_a_rate_lets_the_rest_go_when_its_time_has_come(self, stage: Stage) -> None:
        app = await stage.app(shop)
        floor.open.set()
        await app.queues.limit("mail", rate="3/h")
        await enqueue(app, 5)
        async with woken(app, mail=20):
            await eventually(lambda: floor.done["mail"] == 3)
            await stage.advance("59m")
            await app.queues.pause("hooks")  # makes everybody look
            assert floor.done["mail"] == 3
            await stage.advance("1m5s")
            await eventually(lambda: floor.done["mail"] == 5)

    async def test_a_worker_knows_when_a_rate_lets_go(self, stage: Stage) -> None:
        app = await stage.app(shop)
        floor.open.set()
        await app.queues.limit("mail", rate="2/300ms")
        await enqueue(app, 6)
        options = WorkerOptions({"mail": 20}, poll_interval=timedelta(hours=1), drain=True)
        await asyncio.wait_for(app.worker(options).run(), 10)
        assert floor.done["mail"] == 6

    async def test_code_says_them_when_a_worker_starts(self, stage: Stage) -> None:
        app = await stage.app(shop, queues={"mail": Queue(max_running=2, rate="100/m")})
        await enqueue(app, 5)
        async with woken(app, mail=20):
            await eventually(lambda: floor.inside["mail"] == 2)
            record = await app.queues.status("mail")
            assert record.limits == QueueLimits(2, Rate(100, timedelta(minutes=1)))

            await app.queues.limit("mail", max_running=3)
            async with woken(app, mail=20):
                await eventually(lambda: floor.inside["mail"] == 3)
                await app.queues.reset("mail")
                assert (await app.queues.status("mail")).limits.max_running == 2
                floor.open.set()


class TestScaling:
    async def test_all_workers_or_one(self, stage: Stage) -> None:
        app = await stage.app(shop)
        await enqueue(app, 30)
        async with woken(app, mail=2) as first, woken(app, mail=2):
            await eventually(lambda: floor.inside["mail"] == 4)
            await app.queues.scale("mail", 5)
            await eventually(lambda: floor.inside["mail"] == 10)
            await app.queues.scale("mail", 8, worker=first._worker_id)
            await eventually(lambda: floor.inside["mail"] == 13)
            floor.open.set()

    async def test_a_stopped_queue_is_served_by_others_alone(self, stage: Stage) -> None:
        app = await stage.app(shop)
        floor.open.set()
        async with woken(app, mail=2) as first, woken(app, mail=2) as second:
            await eventually(lambda: first._worker_id and second._worker_id)
            await app.queues.stop("mail", worker=first._worker_id)
            await eventually(lambda: first._slots.total == {"mail": 0})
            jobs = await app.enqueue_many([send.with_() for _ in range(6)])
            for job in jobs:
                assert (await job.wait(60)).status is Status.SUCCEEDED
            await app.queues.stop("mail")
            await eventually(lambda: second._slots.total == {"mail": 0})
            waiting = await app.enqueue(send.with_())
            await app.queues.scale("mail", None)
            await eventually(lambda: second._slots.total == {"mail": 2})
            assert (await waiting.wait(60)).status is Status.SUCCEEDED

    async def test_a_worker_that_starts_knows_of_the_stop(self, stage: Stage) -> None:
        app = await stage.app(shop)
        await app.queues.stop("mail")
        await enqueue(app, 1)
        async with woken(app, mail=2) as worker:
            await eventually(lambda: worker.is_idle)
            assert floor.inside["mail"] == 0

    async def test_plain_functions_run_beside_one_another(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{__name__}.meeting", threading.Barrier(4))
        app = await stage.app(shop)
        async with woken(app, hooks=1):
            await app.queues.scale("hooks", 4)
            jobs = await app.enqueue_many([together.with_() for _ in range(4)])
            assert sorted([await job.result(timeout=60) for job in jobs]) == [0, 1, 2, 3]


class TestBadInput:
    async def test_is_refused_with_what_to_write(self, stage: Stage) -> None:
        app = await stage.app(shop)
        with pytest.raises(InvalidOptionError, match="max_running=, rate="):
            await app.queues.limit("mail")
        with pytest.raises(InvalidOptionError, match="pause the queue"):
            await app.queues.limit("mail", max_running=0)
        with pytest.raises(InvalidOptionError, match="'10/s'"):
            await app.queues.limit("mail", rate="ten")
        with pytest.raises(InvalidOptionError, match="slots=-1"):
            await app.queues.scale("mail", -1)
        with pytest.raises(InvalidOptionError, match="no worker 999"):
            await app.queues.scale("mail", 1, worker=999)
        with pytest.raises(InvalidOptionError, match="at most 40 bytes"):
            await app.queues.pause("q" * 41)


class TestInSQL:
    @on_postgres
    async def test_people_pause_limit_and_scale(self, stage: Stage) -> None:
        assert isinstance(stage, PostgresStage)
        app = await stage.app(shop)
        run = stage.admin.execute
        run("SELECT limit_queue('mail', max_running => 2, rate => 100, per => '1 minute')")
        run("SELECT scale_queue('mail', 7)")
        run("SELECT pause_queue('mail')")

        record = await app.queues.status("mail")
        assert record.is_paused
        assert record.limits == QueueLimits(2, Rate(100, timedelta(minutes=1)))
        assert run(
            "SELECT max_running, rate, per, slots, limits_from FROM queues WHERE queue = 'mail'"
        ).fetchone() == (2, 100, timedelta(minutes=1), 7, "hand")

        run("SELECT resume_queue('mail'), limit_queue('mail'), scale_queue('mail', NULL)")
        record = await app.queues.status("mail")
        assert (record.is_paused, record.limits, record.slots) == (False, QueueLimits(), None)


async def _is_due(app: FlowStone) -> bool:
    return (await app.queues.status("mail")).due == 1


class Tenants:
    """Who is at work for whom, and in which order it was begun."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside: Counter[str] = Counter()
        self.order: list[tuple[str, int]] = []

    async def serve(self, tenant: str, number: int) -> None:
        self.order.append((tenant, number))
        self.inside[tenant] += 1
        await self.open.wait()
        self.inside[tenant] -= 1


tenants = Tenants()
many = Pipeline("many")


@many.job(queue="api")
async def call(number: int, tenant: str | None = "default") -> None:
    await tenants.serve(tenant or "none", number)


@many.job(queue="orders", lane="order", retry=Retry(3, base="50ms"))
async def change(ctx: JobContext, order: str, number: int, fails: bool = False) -> None:
    tenants.order.append((order, number))
    tenants.inside[order] += 1
    try:
        assert tenants.inside[order] == 1
        await asyncio.sleep(0)
        if fails and ctx.attempt == 1:
            raise ConnectionError("not yet")
    finally:
        tenants.inside[order] -= 1


@pytest.fixture(autouse=True)
def new_tenants() -> None:
    tenants.__init__()  # type: ignore[misc]


class TestKeys:
    async def test_limits_go_by_an_argument_and_its_default(self, stage: Stage) -> None:
        queues = {"api": Queue(key="tenant", max_running_per_key=2)}
        app = await stage.app(many, queues=queues)
        for tenant in ("a", "b"):
            await app.enqueue_many([call.with_(number, tenant) for number in range(5)])
        await app.enqueue_many([call.with_(number) for number in range(5)])
        await app.enqueue_many([call.with_(number, None) for number in range(5)])

        async with woken(app, api=30):
            expected = {"a": 2, "b": 2, "default": 2, "none": 5}
            await eventually(lambda: +tenants.inside == expected)
            await app.queues.limit("api", max_running_per_key=3)
            expected = {"a": 3, "b": 3, "default": 3, "none": 5}
            await eventually(lambda: +tenants.inside == expected)
            tenants.open.set()
            await app.queues.drain("api", timeout=10)
        assert len(tenants.order) == 20

    async def test_a_rate_of_each(self, stage: Stage) -> None:
        app = await stage.app(many, queues={"api": Queue(key="tenant", rate_per_key="2/h")})
        tenants.open.set()
        await app.enqueue_many([call.with_(number, "a") for number in range(3)])
        await app.enqueue(call.with_(0, "b"))
        async with woken(app, api=30):
            await eventually(lambda: len(tenants.order) == 3)
            await stage.advance("1h1m")
            await eventually(lambda: len(tenants.order) == 4)

    def test_a_limit_without_a_key_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match='key="tenant"'):
            FlowStone(many, queues={"api": Queue(max_running_per_key=2)})

    async def test_a_schedule_into_such_a_queue_is_refused(self) -> None:
        timed = Pipeline("timed")
        job = timed.job(name="tick")(_with_tenant)
        timed.schedule("hourly", "@hourly", job.with_("a"), queue="api")
        with pytest.raises(DefinitionError, match="limits per tenant"):
            FlowStone(timed, queues={"api": Queue(key="tenant")})


async def _with_tenant(tenant: str) -> None: ...


class TestLanes:
    async def test_one_at_a_time_in_order_also_over_a_retry(self, stage: Stage) -> None:
        app = await stage.app(many)
        calls = [
            change.with_(order, number, fails=number == 1) for number in range(4) for order in "xyz"
        ]
        await app.enqueue_many(calls)
        async with woken(app, orders=10), woken(app, orders=10):
            await eventually(lambda: len(tenants.order) == 15)
            await app.queues.drain("orders", timeout=10)
        for order in "xyz":
            own = [number for name, number in tenants.order if name == order]
            assert own == [0, 1, 1, 2, 3]

    def test_a_lane_that_is_no_argument_is_refused(self) -> None:
        wrong = Pipeline("wrong")
        wrong.job(name="it", lane="orders")(_with_tenant)
        with pytest.raises(DefinitionError, match="lane='orders' is no argument of it"):
            FlowStone(wrong)

    def test_a_lane_and_a_replacement_are_refused(self) -> None:
        wrong = Pipeline("wrong")
        wrong.job(name="it", lane="tenant", unique=Unique(on_conflict="replace"))(_with_tenant)
        with pytest.raises(DefinitionError, match="keeps its place"):
            FlowStone(wrong)

    async def test_a_replacement_in_a_queue_with_keys_is_refused(self, stage: Stage) -> None:
        replacing = Pipeline("replacing")
        job = replacing.job(name="it", unique=Unique(on_conflict="replace"))(_with_tenant)
        app = await stage.app(replacing, queues={"default": Queue(key="tenant")})
        with pytest.raises(InvalidOptionError, match="limits per tenant"):
            await app.enqueue(job.with_("a"))
