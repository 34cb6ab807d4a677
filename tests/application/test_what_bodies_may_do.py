"""Whatever a body does, its asset ends, and nothing but its asset."""

from collections.abc import Callable

import pytest

from flowstone import Pipeline, RunFailedError, Skip
from flowstone.core.status import Status
from tests.application.stage import Stage

fates = Pipeline("fates")


class Boom(BaseException):
    """Nothing that ``except Exception`` would catch."""


@fates.asset
def exhausted() -> int:
    return next(iter(()))


@fates.asset
async def boom() -> int:
    raise Boom("bang")


@fates.asset
async def leaves() -> int:
    raise SystemExit(3)


@fates.asset
async def closes() -> int:
    raise GeneratorExit


@fates.asset
async def skips_oddly() -> int | Skip:
    return Skip("a\0b\ud800")


@pytest.mark.parametrize("target", [exhausted, boom, leaves, closes])
async def test_what_is_no_exception_fails_its_asset_too(
    stage: Stage, target: Callable[[], int]
) -> None:
    app = await stage.app(fates)

    with pytest.raises(RunFailedError) as failed:
        await app.run(target)

    assert len(failed.value.failures) == 1


async def test_a_reason_may_hold_anything(stage: Stage) -> None:
    app = await stage.app(fates)

    handle = await app.enqueue(skips_oddly)
    assert await app.finish(handle) is None

    (row,) = await app.store.materializations(handle.run_id)
    assert row.status is Status.SKIPPED
    assert row.error is not None
    assert "\\u0000" not in row.error
