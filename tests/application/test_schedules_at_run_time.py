"""Schedules that are added, changed, paused and triggered while workers work."""

import pytest

from flowstone.core import scheduling
from flowstone.core.errors import (
    InvalidOptionError,
    ScheduleInCodeError,
    ScheduleNotFoundError,
    UnknownJobError,
)
from tests.application.conftest import AppOf
from tests.application.scheduled import FAR, names, other, shop_with, synchronized, tick
from tests.application.stage import Stage, eventually, working


class TestAtRunTime:
    async def test_one_can_be_added_while_workers_work_and_they_hear_of_it(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scheduling, "POLL_SECONDS", 3600.0)
        shop, seen = shop_with()
        app = await app_of(shop)
        async with working(app):
            await eventually(lambda: app.store.wakeups.topics >= {"schedules"})

            await app.schedules.add("often", "* * * * * *", shop.jobs[0].with_("Ada"))

            await eventually(lambda: len(seen) >= 2)
        assert set(seen) == {"Ada"}

    async def test_adding_again_changes_it(self, app_of: AppOf) -> None:
        shop, _ = shop_with()
        app = await app_of(shop)

        await app.schedules.add("mine", FAR, shop.jobs[0].with_())
        record = await app.schedules.add("mine", "@hourly", shop.jobs[0].with_("Ada"), missed="all")

        assert await names(app) == ["shop.mine"]
        assert (record.cron, record.missed, record.source) == ("@hourly", "all", "runtime")
        assert record.arguments == '{"name":"Ada"}'

    async def test_the_codes_can_be_neither_replaced_nor_removed(self, app_of: AppOf) -> None:
        shop, _ = shop_with("coded")
        app = await app_of(shop)
        await synchronized(app, "shop.coded")

        with pytest.raises(ScheduleInCodeError, match=r"flowstone schedule pause shop\.coded"):
            await app.schedules.add("coded", FAR, shop.jobs[0].with_())
        with pytest.raises(ScheduleInCodeError):
            await app.schedules.remove("coded")
        assert await names(app) == ["shop.coded"]

    async def test_what_was_added_can_be_removed(self, app_of: AppOf) -> None:
        shop, _ = shop_with()
        app = await app_of(shop)
        await app.schedules.add("mine", FAR, shop.jobs[0].with_())

        await app.schedules.remove("mine")

        with pytest.raises(ScheduleNotFoundError):
            await app.schedules.remove("mine")

    async def test_wrong_ones_are_refused_and_nothing_is_written(self, app_of: AppOf) -> None:
        shop, _ = shop_with()
        app = await app_of(shop)
        greet = shop.jobs[0].with_()

        with pytest.raises(InvalidOptionError, match="bad minute"):
            await app.schedules.add("mine", "61 * * * *", greet)
        with pytest.raises(InvalidOptionError, match="timezone"):
            await app.schedules.add("mine", FAR, greet, timezone="Mars/Olympus")
        with pytest.raises(InvalidOptionError, match=r"\$\.name"):
            await app.schedules.add("mine", FAR, shop.jobs[0].with_(7))
        with pytest.raises(UnknownJobError):
            await app.schedules.add("mine", FAR, other("bank").jobs[0].with_())
        assert await names(app) == []

    async def test_one_that_is_not_there_is_named_with_what_was_meant(self, app_of: AppOf) -> None:
        shop, _ = shop_with()
        app = await app_of(shop)
        await app.schedules.add("nightly", FAR, shop.jobs[0].with_())

        for what in (app.schedules.pause, app.schedules.resume, app.schedules.trigger):
            with pytest.raises(ScheduleNotFoundError, match=r"shop\.nightly"):
                await what("shop.nigtly")

    async def test_a_name_that_two_pipelines_have_needs_the_pipeline(self, app_of: AppOf) -> None:
        app = await app_of(other("bank"), other("shop"))
        await synchronized(app, "bank.often", "shop.often")

        with pytest.raises(InvalidOptionError, match=r"bank\.often, shop\.often"):
            await app.schedules.get("often")

    async def test_of_a_pause_nothing_is_made_up_for(self, stage: Stage, app_of: AppOf) -> None:
        shop, seen = shop_with()
        app = await app_of(shop)
        await app.schedules.add("mine", FAR, shop.jobs[0].with_("Ada"), missed="all")
        await app.schedules.pause("mine")
        assert await app.schedules.next("mine") == []
        await stage.advance("3d")
        await tick(app)

        await app.schedules.resume("mine")
        await tick(app)

        record = await app.schedules.get("mine")
        assert record.last_job_id is None
        assert record.next_at is not None
        assert record.next_at > await app.store.now()
        assert seen == []

    async def test_one_that_is_triggered_runs_at_once(self, app_of: AppOf) -> None:
        shop, seen = shop_with()
        app = await app_of(shop)
        before = await app.schedules.add("mine", FAR, shop.jobs[0].with_("Ada"))

        job = await app.schedules.trigger("shop.mine")
        async with working(app):
            await job.wait(60)

        assert seen == ["Ada"]
        assert (await job.status()).tick_at is None
        assert (await app.schedules.get("mine")).next_at == before.next_at

    async def test_the_next_ticks_are_told_in_its_time_zone(self, app_of: AppOf) -> None:
        shop, _ = shop_with()
        app = await app_of(shop)
        await app.schedules.add("mine", "0 8 * * *", shop.jobs[0].with_(), timezone="Europe/Berlin")

        ticks = await app.schedules.next("mine", 400)

        assert {it.hour for it in ticks} == {8}
        assert len({it.utcoffset() for it in ticks}) == 2
        assert ticks[0] == (await app.schedules.get("mine")).next_at
        assert len({it.date() for it in ticks}) == 400
