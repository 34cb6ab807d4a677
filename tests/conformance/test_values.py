"""Section D: what the application does with the values of assets."""

import json

import pytest

from flowstone import Context, Dep, Pipeline
from flowstone.core.contracts.store_records import Key
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import NotRegisteredError, NotStoredError
from tests.conformance.stage import Stage, drain

p = Pipeline("p")
versions = iter(range(1000))


@p.asset
async def base(ctx: Context) -> str:
    return f"base of {ctx.partition}"


@p.asset
async def derived(base: str = Dep(base)) -> str:
    return f"derived from {base}"


@p.asset
async def version() -> int:
    return next(versions)


@pytest.mark.conformance(69)
async def test_storing_and_loading_tell_when_they_begin_and_end(stage: Stage) -> None:
    app = await stage.open(p)

    await app.run(derived, partition="x")

    told = stage.listener.of("io.")
    assert [event.name for event in told if event.metadata["asset"] == "p.base"] == [
        "io.store.start",
        "io.store.stop",
        "io.load.start",
        "io.load.stop",
    ]
    assert {(e.metadata["partition"], e.metadata["io_manager"]) for e in told} == {("x", "default")}


@pytest.mark.conformance(70)
async def test_an_unknown_io_manager_is_named_with_those_there_are(stage: Stage) -> None:
    app = await stage.open(p, io={"lake": MemoryIO()})

    with pytest.raises(NotRegisteredError) as raised:
        await app.run(base, io="lakes")

    assert raised.value.name == "lakes"
    assert raised.value.suggestion == "lake"


@pytest.mark.conformance(73)
async def test_a_value_stored_again_takes_the_place_of_the_first(stage: Stage) -> None:
    app = await stage.open(p)
    first = await app.run(version)

    second = await app.run(version, force=True)

    assert first != second
    assert await app.get(version) == second
    assert await app.invalidate(version) == 1


@pytest.mark.conformance(74)
async def test_a_partition_is_found_as_text_and_as_number(stage: Stage) -> None:
    app = await stage.open(p)

    stored = await app.run(base, partition="1")

    assert await app.get(base, partition=1) == stored


@pytest.mark.conformance(76)
async def test_loading_what_is_gone_ends_its_span_too(stage: Stage) -> None:
    lake = MemoryIO()
    app = await stage.open(p, io={"lake": lake})
    await app.enqueue(base, io="lake")
    await drain(app)
    key = Key("p.base", "")
    found, _ = await app.store.current([key])
    await lake.delete(json.loads(found[key].location or ""))

    with pytest.raises(NotStoredError):
        await app.get(base)

    start, end = stage.listener.of("io.load")
    assert (start.name, end.name) == ("io.load.start", "io.load.exception")
    assert end.measurements["duration"] >= 0
    assert isinstance(end.metadata["error"], NotStoredError)
