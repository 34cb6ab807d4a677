"""Slices of an asset: separate values, the same upstream slice, and one text for each."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from flowstone import Context, Dep, Pipeline
from flowstone.core.errors import InvalidPartitionError, NotStoredError
from tests.application.conftest import AppOf
from tests.application.stage import drain, statuses
from tests.opaque import Opaque

NASTY = 'a\'; DROP TABLE flowstone_runs; -- "%s" {} $1 \\ \n ü 💧'


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def told(ctx: Context) -> str:
        return repr(ctx.partition)

    @p.asset
    async def again(told: str = Dep(told)) -> str:
        return told

    return p


@pytest.mark.conformance(148)
async def test_a_function_sees_its_partition_as_what_it_is(app_of: AppOf) -> None:
    p, seen = Pipeline("p"), []

    @p.asset
    async def day(ctx: Context[date]) -> str:
        seen.append(ctx.partition)
        return ctx.partition.isoformat()

    app = await app_of(p)

    assert await app.run(day, partition=date(2025, 1, 15)) == "2025-01-15"
    assert seen == [date(2025, 1, 15)]


@pytest.mark.parametrize(
    "partition",
    [
        None,
        "text",
        "2024-01-01",
        "a:b|c",
        NASTY,
        date(2024, 2, 29),
        datetime(2024, 1, 1, 12, 30),
        datetime(2024, 1, 1, 12, 30, tzinfo=UTC),
        ("tenant", date(2024, 1, 1), ("a", 1)),
    ],
    ids=repr,
)
async def test_any_partition_goes_through_a_worker_unchanged(app_of: AppOf, partition: Any) -> None:
    app = await app_of(pipeline())
    handle = await app.enqueue("again", partition=partition)

    await drain(app)

    assert await handle.result() == repr(partition)
    assert await app.get("told", partition=partition) == repr(partition)
    assert await app.exists("again", partition=partition)


@pytest.mark.conformance(149)
async def test_each_partition_has_its_own_value(app_of: AppOf) -> None:
    app = await app_of(pipeline())

    assert await app.run("told", partition="a") == "'a'"
    assert await app.run("told", partition="b") == "'b'"

    assert await app.get("told", partition="a") == "'a'"
    assert await app.get("told", partition="b") == "'b'"
    with pytest.raises(NotStoredError, match=r"p\.told\[c\] has no value"):
        await app.get("told", partition="c")


@pytest.mark.conformance(151, 152)
async def test_a_value_is_there_after_its_run_and_only_for_its_partition(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    assert not await app.exists("told", partition="a")
    with pytest.raises(NotStoredError):
        await app.get("told", partition="a")

    value = await app.run("told", partition="a")

    assert await app.get("told", partition="a") == value
    assert await app.exists("told", partition="a")
    assert not await app.exists("told", partition="b")
    assert not await app.exists("told")


@pytest.mark.conformance(155)
async def test_a_status_says_where_one_partition_stands(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("told", partition="a")

    status = await app.status("told", partition="a")
    never = await app.status("told", partition="b")

    assert (status.asset, status.partition, status.state) == ("p.told", "a", "stored")
    assert status.latest is not None
    assert (status.latest.status, status.latest.attempt) == ("succeeded", 1)
    assert status.materialized_at is not None
    assert (never.state, never.latest, never.materialized_at) == ("missing", None, None)


@pytest.mark.conformance(74)
async def test_a_number_and_its_text_are_one_partition(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("told", partition="1")

    assert await app.get("told", partition=1) == "'1'"


@pytest.mark.parametrize("partition", [Opaque(), {"a": 1}, ["a"], "\ud800", "a\0b"], ids=repr)
async def test_what_is_no_partition_is_refused_before_anything_is_written(
    app_of: AppOf, partition: Any
) -> None:
    app = await app_of(pipeline())

    for ask in ("run", "enqueue", "plan", "get", "exists", "status", "invalidate"):
        with pytest.raises(InvalidPartitionError):
            await getattr(app, ask)("told", partition=partition)

    assert await app.store.runs() == []


async def test_many_partitions_are_one_run(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    handle = await app.enqueue_many(["told", "again"], over=["a", "b", "a"])

    await drain(app)

    assert await handle.result() == ["'a'", "'a'", "'b'", "'b'"]
    assert await statuses(app, handle.run_id) == {
        "told[a]": "succeeded",
        "again[a]": "succeeded",
        "told[b]": "succeeded",
        "again[b]": "succeeded",
    }


async def test_one_failing_partition_leaves_the_others_alone(app_of: AppOf) -> None:
    p = Pipeline("p")

    @p.asset
    def inverse(ctx: Context[int]) -> float:
        return 1 / ctx.partition

    @p.asset
    async def doubled(inverse: float = Dep(inverse)) -> float:
        return inverse * 2

    app = await app_of(p)
    handle = await app.enqueue_many([doubled], over=[1, 0, 2])
    await drain(app)

    assert await app.get(doubled, partition=1) == 2
    assert await app.get(doubled, partition=2) == 1
    (failure,) = await handle.failures()
    assert (failure.asset, failure.partition) == ("p.inverse", "0")
