"""Declaring a value stale."""

import pytest

from flowstone import Dep, Pipeline
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import NotRegisteredError, NotStoredError
from tests.application.conftest import AppOf


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def first() -> int:
        return 1

    @p.asset
    async def middle(first: int = Dep(first)) -> int:
        return first + 1

    @p.asset
    async def last(middle: int = Dep(middle)) -> int:
        return middle + 1

    @p.asset(after=[last])
    async def afterwards() -> None: ...

    return p


@pytest.mark.conformance(153)
async def test_it_counts_what_became_stale_and_nothing_twice(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    assert await app.invalidate("first") == 0
    await app.run("first")
    assert await app.exists("first")

    assert await app.invalidate("first") == 1

    assert not await app.exists("first")
    assert await app.invalidate("first") == 0
    assert (await app.status("first")).state == "invalidated"
    with pytest.raises(NotStoredError, match=r"p\.first has no value; run it first"):
        await app.get("first")


@pytest.mark.conformance(154)
async def test_other_partitions_stay(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("first", partition="a")
    await app.run("first", partition="b")

    assert await app.invalidate("first", partition="a") == 1

    assert not await app.exists("first", partition="a")
    assert await app.exists("first", partition="b")


async def test_what_was_made_from_it_is_stale_too_however_far(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run(["last", "afterwards"])

    assert await app.invalidate("first") == 3

    assert [await app.exists(name) for name in ("first", "middle", "last")] == [False] * 3
    assert await app.exists("afterwards")


async def test_what_was_made_from_an_earlier_value_is_left_to_the_planner(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("last")
    await app.run("first", force=True)

    assert await app.invalidate("first") == 1
    assert await app.invalidate("middle") == 2


async def test_downstream_can_be_left_alone(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("last")

    assert await app.invalidate("first", downstream=False) == 1

    assert await app.exists("middle")


async def test_only_what_an_io_manager_holds(app_of: AppOf) -> None:
    app = await app_of(pipeline(), io={"lake": MemoryIO()})
    await app.run("first", io="lake")

    assert await app.invalidate("first", io="default") == 0
    assert await app.exists("first")
    assert await app.invalidate("first", io="lake") == 1
    assert not await app.exists("first")
    with pytest.raises(NotRegisteredError, match="lake"):
        await app.invalidate("first", io="lak")


async def test_a_new_value_is_not_stale(app_of: AppOf) -> None:
    app = await app_of(pipeline())
    await app.run("last")
    await app.invalidate("last")

    assert await app.run("last") == 3

    assert await app.exists("last")
    assert (await app.status("last")).state == "stored"
