"""Runs that were enqueued for an asset and have not ended."""

from datetime import date

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.errors import InvalidOptionError, UnknownAssetError
from flowstone.testing import Applications, assert_enqueued, drain, refute_enqueued
from tests.testing.a_shop import an_app, ends, orders, report

pytestmark = pytest.mark.flowstone_both

DAY = date(2025, 1, 15)


async def test_a_run_is_found_by_its_target_and_partition(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        run = await app.enqueue(orders, partition=DAY)

        assert (await assert_enqueued(app, orders, partition=DAY)).run_id == run.run_id
        await refute_enqueued(app, orders)
        await refute_enqueued(app, report, partition=DAY)
        await drain(app)
        await refute_enqueued(app, orders, partition=DAY)


async def test_its_queue_is_the_runs_or_its_own(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        await app.enqueue(orders, partition=DAY)
        await assert_enqueued(app, orders, partition=DAY, queue="default")
        await refute_enqueued(app, orders, partition=DAY, queue="etl")

        await app.enqueue(orders, partition=DAY, queue="etl", force=True)
        await assert_enqueued(app, orders, partition=DAY, queue="etl")


async def test_a_failure_says_what_there_is(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        with pytest.raises(AssertionError, match=r"is for shop\.report\nno run is open$"):
            await assert_enqueued(app, report)
        run = await app.enqueue(orders, partition=DAY)
        there = f"open runs:\n  {run.run_id}: shop.orders[d:2025-01-15] in queue default"

        with pytest.raises(AssertionError) as missing:
            await assert_enqueued(app, report, partition=DAY, queue="etl")
        with pytest.raises(AssertionError) as present:
            await refute_enqueued(app, orders, partition=DAY)

    asked = "no open run is for shop.report[d:2025-01-15], in queue etl"
    assert str(missing.value) == f"{asked}\n{there}"
    assert str(present.value) == f"an open run is for shop.orders[d:2025-01-15]\n{there}"


async def test_more_than_a_page_is_looked_through(
    flowstone_app: Applications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowstone.testing.enqueued_runs.PAGE", 2)
    async with flowstone_app(an_app()) as app:
        for day in range(1, 6):
            await app.enqueue(orders, partition=date(2025, 1, day))

        await assert_enqueued(app, orders, partition=date(2025, 1, 1))


async def test_a_wrong_question_is_refused(flowstone_app: Applications) -> None:
    async with flowstone_app(an_app()) as app:
        with pytest.raises(InvalidOptionError, match="arguments, delay: only of jobs"):
            await refute_enqueued(app, orders, arguments={}, delay="1h")  # type: ignore[call-overload]
        with pytest.raises(InvalidOptionError, match="a job has none"):
            await refute_enqueued(app, ends, partition=DAY)  # type: ignore[call-overload]


async def test_an_asset_of_another_pipeline_is_unknown() -> None:
    with pytest.raises(UnknownAssetError):
        await refute_enqueued(FlowStone(Pipeline("other")), orders)
