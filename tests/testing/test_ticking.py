"""Schedules, without waiting for them."""

import pytest

from flowstone import Pipeline
from flowstone.testing import Applications, Drained, advance, drain, tick

pytestmark = pytest.mark.flowstone_both


async def test_what_falls_due_is_enqueued_once(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")

    @shop.job
    async def close_day(shop_id: int) -> int:
        return shop_id

    shop.schedule("closing", "0 18 * * *", close_day.with_(1))
    shop.schedule("yearly", "0 0 1 1 *", close_day.with_(2), missed="skip")
    async with flowstone_app(shop) as app:
        assert await tick(app) == []

        await advance(app, "1d")

        (job,) = await tick(app)
        assert (job.job, job.arguments) == ("shop.close_day", {"shop_id": 1})
        assert await tick(app) == []
        assert await drain(app) == Drained(succeeded=1)


async def test_more_schedules_than_a_batch_are_all_enqueued(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")

    @shop.job
    async def note(number: int) -> None: ...

    for number in range(120):
        shop.schedule(f"note_{number}", "0 18 * * *", note.with_(number))
    async with flowstone_app(shop) as app:
        await tick(app)
        await advance(app, "1d")

        assert {job.arguments["number"] for job in await tick(app)} == set(range(120))


async def test_a_schedule_that_was_added_ticks_too(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")

    @shop.job
    async def note() -> None: ...

    async with flowstone_app(shop) as app:
        await app.schedules.add("nightly", "0 3 * * *", note.with_())
        await advance(app, "1d")

        assert [job.job for job in await tick(app)] == ["shop.note"]
