"""Slices of an asset: separate values, the same upstream slice, and one text for each."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from flowstone import Context, Dep, Pipeline
from flowstone.core.errors import (
    DependencyNotReadyError,
    InvalidPartitionError,
    NotStoredError,
)
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


class TestAContextThatSaysItsPartition:
    """Whoever asks is told before a run is written, also of an asset further up."""

    def pipeline(self) -> Pipeline:
        p = Pipeline("p")

        @p.asset
        async def day(ctx: Context[date]) -> int:
            return ctx.partition.day

        @p.asset
        async def doubled(day: int = Dep(day)) -> int:
            return 2 * day

        @p.asset
        async def slice_(ctx: Context[str]) -> str:
            return ctx.partition

        @p.asset
        async def either(ctx: Context[str | int]) -> str:
            return str(ctx.partition)

        @p.asset
        async def perhaps(ctx: Context[date | None]) -> str:
            return str(ctx.partition)

        return p

    @pytest.mark.parametrize(
        ("target", "partition", "said"),
        [
            (
                "doubled",
                "2025-01-15",
                (
                    "asset 'p.day' is computed for a date (Context[date]), not for '2025-01-15'; "
                    "write partition=datetime.date(2025, 1, 15), or -p d:2025-01-15"
                ),
            ),
            (
                "day",
                datetime(2025, 1, 15, 8),
                (
                    "asset 'p.day' is computed for a date (Context[date]), not for "
                    "datetime.datetime(2025, 1, 15, 8, 0); "
                    "write partition=datetime.date(2025, 1, 15), or -p d:2025-01-15"
                ),
            ),
            ("day", 7, "asset 'p.day' is computed for a date (Context[date]), not for 7"),
            (
                "doubled",
                None,
                (
                    "asset 'p.day' is computed for a date (Context[date]), and none is given: say "
                    "partition=..., on the command line -p"
                ),
            ),
            (
                "slice_",
                date(2025, 1, 15),
                (
                    "asset 'p.slice_' is computed for a str (Context[str]), not for "
                    "datetime.date(2025, 1, 15); "
                    "write partition='2025-01-15', or -p s:MjAyNS0wMS0xNQ"
                ),
            ),
            (
                "either",
                None,
                (
                    "asset 'p.either' is computed for a partition, and none is given: say "
                    "partition=..., on the command line -p"
                ),
            ),
        ],
        ids=repr,
    )
    async def test_refuses_another_one_before_anything_is_written(
        self, app_of: AppOf, target: str, partition: Any, said: str
    ) -> None:
        app = await app_of(self.pipeline())

        for ask in (app.run, app.plan, app.enqueue):
            with pytest.raises(InvalidPartitionError) as caught:
                await ask(target, partition=partition)
            assert str(caught.value) == said
        with pytest.raises(InvalidPartitionError):
            await app.enqueue_many([target], over=iter([partition]))

        assert await app.store.runs() == []

    async def test_takes_what_stands_for_it(self, app_of: AppOf) -> None:
        app = await app_of(self.pipeline())

        assert await app.run("doubled", partition=date(2025, 1, 15)) == 30
        assert await app.run("slice_", partition=7) == "7"
        assert await app.run("either", partition="a") == "a"
        assert await app.run("perhaps") == "None"

    async def test_is_not_asked_of_upstreams_that_stay_as_they_are(self, app_of: AppOf) -> None:
        app = await app_of(self.pipeline())

        with pytest.raises(DependencyNotReadyError):
            await app.plan("doubled", with_deps=False)
