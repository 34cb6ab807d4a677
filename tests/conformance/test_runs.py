"""Section I: running, and asking afterwards."""

import logging
from collections.abc import Iterator
from datetime import date
from itertools import count

import pytest

from flowstone import Context, Dep, FlowStoneError, Pipeline, RunFailedError
from flowstone.core.asset_status import AssetState
from flowstone.core.errors import (
    AssetFunctionError,
    NotStoredError,
    UnknownAssetError,
    ValidationFailedError,
)
from flowstone.core.status import Status
from tests.conformance.stage import Stage, drain

p = Pipeline("p")
counting: Iterator[int] = count()


@p.asset
async def greeting() -> str:
    return "Hello, World!"


@p.asset
async def numbers() -> list[int]:
    return [1, 2, 3, 4, 5]


@p.asset
async def doubled(numbers: list[int] = Dep(numbers)) -> list[int]:
    return [2 * number for number in numbers]


@p.asset(name="sum")
async def total(doubled: list[int] = Dep(doubled)) -> int:
    return sum(doubled)


@p.asset
async def counter() -> int:
    return next(counting)


@p.asset
async def slice_of(ctx: Context) -> str:
    return repr(ctx.partition)


@p.asset
async def refusing() -> None:
    raise ValidationFailedError("intentional_failure")


@p.asset
async def raising() -> None:
    raise RuntimeError("Intentional error")


@p.asset
async def needs_raising(raising: None = Dep(raising)) -> int:
    return next(counting)


@p.asset
async def needs_that_too(needs_raising: int = Dep(needs_raising)) -> int:
    return next(counting)


@pytest.mark.conformance(142)
async def test_a_run_returns_the_value(stage: Stage) -> None:
    app = await stage.open(p)

    assert await app.run(greeting) == "Hello, World!"


@pytest.mark.conformance(143)
async def test_a_run_computes_what_the_target_needs(stage: Stage) -> None:
    app = await stage.open(p)

    assert await app.run(total) == 30
    assert await app.get(doubled) == [2, 4, 6, 8, 10]


@pytest.mark.conformance(144)
async def test_an_unknown_asset_is_refused_with_the_likely_one(stage: Stage) -> None:
    app = await stage.open(p)

    with pytest.raises(UnknownAssetError, match="greeting"):
        await app.run("greting")

    assert await app.store.runs() == []


@pytest.mark.conformance(145)
async def test_an_error_of_ours_that_an_asset_raises_is_passed_on_and_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    app = await stage.open(p)

    with pytest.raises(RunFailedError, match="intentional_failure") as raised:
        await app.run(refusing)

    assert isinstance(raised.value.__cause__, ValidationFailedError)
    assert _errors_logged(caplog, "p.refusing") == 1


@pytest.mark.conformance(146)
async def test_any_other_error_is_wrapped_and_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    app = await stage.open(p)

    with pytest.raises(RunFailedError, match="Intentional error") as raised:
        await app.run(raising)

    cause = raised.value.__cause__
    assert isinstance(cause, AssetFunctionError)
    assert isinstance(cause.__cause__, RuntimeError)
    assert _errors_logged(caplog, "p.raising") == 1


@pytest.mark.conformance(147)
async def test_a_repeat_reuses_the_value_unless_forced(stage: Stage) -> None:
    app = await stage.open(p)

    first = await app.run(counter)

    assert await app.run(counter) == first
    assert await app.run(counter, force=True) != first


@pytest.mark.conformance(148)
async def test_an_asset_sees_the_partition_as_it_was_given(stage: Stage) -> None:
    app = await stage.open(p)

    assert await app.run(slice_of, partition=date(2025, 1, 15)) == repr(date(2025, 1, 15))


@pytest.mark.conformance(149)
async def test_each_partition_has_its_own_value(stage: Stage) -> None:
    app = await stage.open(p)

    await app.run(slice_of, partition="a")
    await app.run(slice_of, partition="b")

    assert await app.get(slice_of, partition="a") == "'a'"
    assert await app.get(slice_of, partition="b") == "'b'"


@pytest.mark.conformance(151)
async def test_a_value_is_there_after_a_run_and_not_before(stage: Stage) -> None:
    app = await stage.open(p)

    with pytest.raises(NotStoredError, match=r"p\.greeting"):
        await app.get(greeting)
    await app.run(greeting)

    assert await app.get(greeting) == "Hello, World!"


@pytest.mark.conformance(152)
async def test_what_exists_is_the_partition_that_was_run(stage: Stage) -> None:
    app = await stage.open(p)

    before = await app.exists(slice_of, partition="a")
    await app.run(slice_of, partition="a")

    assert not before
    assert await app.exists(slice_of, partition="a")
    assert not await app.exists(slice_of, partition="b")


@pytest.mark.conformance(153)
async def test_invalidating_counts_once_what_it_made_stale(stage: Stage) -> None:
    app = await stage.open(p)
    await app.run(greeting)

    counts = [await app.invalidate(it) for it in (greeting, greeting, numbers)]

    assert counts == [1, 0, 0]
    assert not await app.exists(greeting)


@pytest.mark.conformance(154)
async def test_invalidating_one_partition_leaves_the_others(stage: Stage) -> None:
    app = await stage.open(p)
    await app.run(slice_of, partition="a")
    await app.run(slice_of, partition="b")

    await app.invalidate(slice_of, partition="a")

    assert not await app.exists(slice_of, partition="a")
    assert await app.exists(slice_of, partition="b")


@pytest.mark.conformance(155)
async def test_the_status_tells_what_was_stored_and_what_never_ran(stage: Stage) -> None:
    app = await stage.open(p)
    await app.run(greeting)

    stored, missing = await app.status(greeting), await app.status(numbers)

    assert (stored.state, stored.partition) == (AssetState.STORED, "")
    assert stored.latest is not None
    assert stored.latest.status is Status.SUCCEEDED
    assert (missing.state, missing.latest) == (AssetState.MISSING, None)


@pytest.mark.conformance(160)
async def test_a_failure_stops_what_depends_on_it(stage: Stage) -> None:
    app = await stage.open(p)
    before = next(counting)

    with pytest.raises(RunFailedError) as raised:
        await app.run(needs_that_too)

    assert [failure.asset for failure in raised.value.failures] == ["p.raising"]
    rows = await app.store.materializations(raised.value.run_id)
    assert {row.key.asset: row.status for row in rows} == {
        "p.raising": Status.FAILED,
        "p.needs_raising": Status.UPSTREAM_FAILED,
        "p.needs_that_too": Status.UPSTREAM_FAILED,
    }
    assert next(counting) == before + 1


@pytest.mark.conformance(173)
async def test_enqueueing_gives_a_handle_now_and_the_value_later(stage: Stage) -> None:
    app = await stage.open(p)

    handle = await app.enqueue(total)

    assert not (await handle.status()).status.is_terminal
    with pytest.raises(FlowStoneError):
        await app.get(total)
    await drain(app)
    assert await handle.result(timeout=10) == 30
    assert await app.get(total) == 30


def _errors_logged(caplog: pytest.LogCaptureFixture, asset: str) -> int:
    return sum(
        record.levelno == logging.ERROR and asset in record.getMessage()
        for record in caplog.records
    )
