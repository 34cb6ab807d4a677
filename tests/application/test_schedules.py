"""Schedules at work: kept as the code has them, each tick enqueued once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from flowstone import FlowStone, Pipeline, Unique
from flowstone.core.contracts.schedule_store import Advance, Ticked
from flowstone.core.errors import (
    DatabaseError,
    DefinitionError,
)
from flowstone.core.missed import Missed
from tests.application.conftest import AppOf
from tests.application.scheduled import FAR, has, other, shop_with, synchronized, tick
from tests.application.stage import Heard, Stage, eventually, working


class TestInCode:
    async def test_its_job_is_enqueued_at_each_tick_and_says_so(
        self, stage: Stage, app_of: AppOf
    ) -> None:
        shop, seen = shop_with("daily")
        app = await app_of(shop)
        async with working(app):
            await eventually(lambda: has(app, "shop.daily"))
            for times in (1, 2):
                await stage.advance("1d")
                await eventually(lambda times=times: seen == ["daily"] * times)

        [record] = await app.schedules.list()
        assert record.last_job_id is not None
        job = await app.job(record.last_job_id).status()
        assert (job.schedule, job.tick_at) == ("shop.daily", record.last_at)

    async def test_what_the_code_changes_and_drops_the_next_worker_does(
        self, app_of: AppOf
    ) -> None:
        before, _ = shop_with("kept", "dropped")
        await synchronized(await app_of(before), "shop.dropped", "shop.kept")

        after, _ = shop_with("kept", cron="@hourly")
        app = await app_of(after)
        await synchronized(app, "shop.kept")

        assert [it.cron for it in await app.schedules.list()] == ["@hourly"]

    async def test_applications_with_other_pipelines_leave_each_other_alone(
        self, app_of: AppOf
    ) -> None:
        await synchronized(await app_of(other("bank")), "bank.often")

        await synchronized(await app_of(other("shop")), "bank.often", "shop.often")

    async def test_what_was_paused_and_added_by_hand_stays_so(self, app_of: AppOf) -> None:
        shop, seen = shop_with("daily")
        app = await app_of(shop)
        await synchronized(app, "shop.daily")
        await app.schedules.pause("daily")
        await app.schedules.add("mine", FAR, shop.jobs[0].with_())

        again, _ = shop_with("daily", cron="@hourly")
        await synchronized(await app_of(again), "shop.daily", "shop.mine")

        async with working(app):
            await eventually(lambda: has_cron(app, "shop.daily", FAR))
        assert (await app.schedules.get("daily")).paused_at is not None
        assert seen == []

    async def test_a_schedule_may_say_where_its_jobs_go(self, app_of: AppOf) -> None:
        shop, _ = shop_with("daily", queue="reports", priority=7, timezone="Asia/Tokyo")
        app = await app_of(shop)
        await synchronized(app, "shop.daily")

        job = await (await app.schedules.trigger("daily")).status()

        assert (job.queue, job.priority) == ("reports", 7)
        [tick_at] = await app.schedules.next("daily")
        assert (tick_at.tzinfo, tick_at.minute) == (ZoneInfo("Asia/Tokyo"), 30)

    @pytest.mark.parametrize("on_conflict", ["existing", "raise"])
    async def test_a_unique_job_that_waits_still_is_the_ticks_too(
        self, stage: Stage, app_of: AppOf, on_conflict: Literal["existing", "raise"]
    ) -> None:
        shop = Pipeline("shop")

        @shop.job(unique=Unique(by=["region"], on_conflict=on_conflict))
        async def report(region: str, day: int = 1) -> None: ...

        app = await app_of(shop)
        await app.schedules.add("daily", FAR, report.with_("eu", day=2))
        by_hand = await app.enqueue(report.with_("eu"))
        await stage.advance("1d")
        await tick(app)

        record = await app.schedules.get("daily")
        assert record.last_job_id == by_hand.job_id
        assert record.last_at is not None

    async def test_an_application_without_jobs_has_nothing_to_look_for(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def one() -> int:
            return 1

        app = await app_of(p)
        async with working(app):
            checks = [it.check for it in (await app.health()).findings]

        assert "service pruning" in checks
        assert "service scheduling" not in checks


async def has_cron(app: FlowStone, name: str, cron: str) -> bool:
    return (await app.schedules.get(name)).cron == cron


class TestDefinitions:
    def test_everything_that_is_wrong_is_told_at_once(self) -> None:
        shop, _ = shop_with()
        [greet] = shop.jobs
        shop.schedule("cron", "61 * * * *", greet.with_())
        shop.schedule("zone", FAR, greet.with_(), timezone="Berlin")
        shop.schedule("argument", FAR, greet.with_(name=7))  # type: ignore[arg-type]
        shop.schedule("policy", FAR, greet.with_(), missed="some")  # type: ignore[arg-type]
        shop.schedule("never", "0 0 31 4,6 *", greet.with_())
        shop.schedule("twice", FAR, greet.with_())
        shop.schedule("twice", FAR, greet.with_())
        shop.schedule("alien", FAR, other("bank").jobs[0].with_())
        shop.schedule("", FAR, greet.with_())

        with pytest.raises(DefinitionError) as caught:
            FlowStone(shop)

        told = {it.schedule: it.message for it in caught.value.problems}
        assert "bad minute" in told["shop.cron"]
        assert "timezone 'Berlin'" in told["shop.zone"]
        assert "$.name" in told["shop.argument"]
        assert "missed='some'" in told["shop.policy"]
        assert "cron '0 0 31 4,6 *'" in told["shop.never"]
        assert "another schedule of that name" in told["shop.twice"]
        assert "'bank.work', a job of no pipeline" in told["shop.alien"]
        assert "name=''" in told["shop."]
        assert all(__file__.endswith(str(it.where).split(":")[0]) for it in caught.value.problems)

    def test_what_it_enqueues_has_to_be_a_call(self) -> None:
        shop, _ = shop_with()

        with pytest.raises(DefinitionError, match=r"greet\.with_\(\.\.\.\)"):
            shop.schedule("daily", FAR, shop.jobs[0])  # type: ignore[arg-type]

    def test_a_required_argument_has_to_be_given(self) -> None:
        shop = Pipeline("shop")

        @shop.job
        async def mail(to: str) -> None: ...

        with pytest.raises(DefinitionError, match="to"):
            shop.schedule("daily", FAR, mail.with_())  # type: ignore[call-arg]


class TestMissed:
    @pytest.mark.parametrize(("missed", "made_up"), [("skip", 0), ("one", 1), ("all", 3)])
    async def test_what_was_missed_is_made_up_for_by_policy(
        self, stage: Stage, app_of: AppOf, missed: Missed, made_up: int
    ) -> None:
        shop, seen = shop_with("daily", missed=missed)
        app = await app_of(shop)
        await synchronized(app, "shop.daily")
        await stage.advance("3d")

        async with working(app):
            await eventually(lambda: is_ahead(app))
            await eventually(lambda: len(seen) >= made_up)
        await tick(app)

        assert seen == ["daily"] * made_up


async def is_ahead(app: FlowStone) -> bool:
    [record] = await app.schedules.list()
    return record.next_at is not None and record.next_at > await app.store.now()


class TestNeverTwice:
    async def test_of_many_leaders_at_once_one_enqueues_each_tick(
        self, stage: Stage, app_of: AppOf
    ) -> None:
        shop, _ = shop_with()
        apps = [await app_of(shop) for _ in range(4)]
        for name in ("a", "b", "c"):
            await apps[0].schedules.add(name, FAR, shop.jobs[0].with_(name))
        heard = [Heard(app, ["schedule.tick"]) for app in apps]

        for days in range(1, 6):
            await stage.advance("1d")
            await asyncio.gather(*(tick(app) for app in apps * 2))

            told = [facts for it in heard for _, facts in it.of("schedule.tick")]
            assert Counter(it["schedule"] for it in told) == {
                "shop.a": days,
                "shop.b": days,
                "shop.c": days,
            }
            jobs = await apps[0].store.jobs([int(str(it["job_id"])) for it in told])
            assert len(jobs) == 3 * days

    async def test_a_leader_that_read_before_another_enqueued_does_nothing(
        self, stage: Stage, app_of: AppOf
    ) -> None:
        shop, _ = shop_with()
        app = await app_of(shop)
        await app.schedules.add("mine", FAR, shop.jobs[0].with_())
        await stage.advance("1d")
        _, [read] = await app.store.due_schedules(limit=10)
        await tick(app)
        record = await app.schedules.get("mine")

        late = Advance(read, [read.next_at], read.next_at + timedelta(days=2))
        assert await app.store.advance_schedules([late]) == []

        assert await app.schedules.get("mine") == record


class TestTroubles:
    async def test_a_row_that_nobody_can_read_stops_itself_alone(
        self, stage: Stage, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop, seen = shop_with()
        app = await app_of(shop)
        for name, zone in (("broken", "Mars/Olympus"), ("well", "UTC")):
            await app.schedules.add(name, FAR, shop.jobs[0].with_(name))
            row = app._schedule_rows.row(schedule_of(shop, name), await app.store.now())
            row.timezone = zone
            await app.store.put_schedule(row)

        await stage.advance("1d")
        async with working(app):
            await eventually(lambda: seen == ["well"])

        records = {it.name: it for it in await app.schedules.list()}
        assert records["shop.broken"].next_at is None
        assert records["shop.well"].next_at is not None
        assert "'shop.broken' has no further ticks: timezone 'Mars/Olympus'" in caplog.text

    async def test_a_store_that_does_not_answer_is_asked_again(
        self, stage: Stage, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop, seen = shop_with()
        app = await app_of(shop)
        await app.schedules.add("mine", FAR, shop.jobs[0].with_("Ada"))
        await stage.advance("1d")
        failures = 2
        answers = app.store.advance_schedules

        async def advance(advances: Sequence[Advance]) -> Sequence[Ticked]:
            nonlocal failures
            if failures:
                failures -= 1
                raise DatabaseError("gone", sqlstate="57P01")
            return await answers(advances)

        monkeypatch.setattr(app.store, "advance_schedules", advance)
        async with working(app):
            await eventually(lambda: seen == ["Ada"])
            findings = {it.check: it for it in (await app.health()).findings}

        assert failures == 0
        assert findings["service scheduling"].message == "running"


def schedule_of(shop: Pipeline, name: str) -> Any:
    return shop.schedule(name, FAR, shop.jobs[0].with_(name))
