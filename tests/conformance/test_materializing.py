"""Sections E, F and G: what an asset is given, and what its materialization leaves behind."""

import logging
from collections.abc import Mapping

import pytest

from flowstone import Context, Dep, Pipeline, Requires, RunFailedError
from flowstone.core.contracts.resource import Resource
from flowstone.core.contracts.store_records import Key
from flowstone.core.errors import AssetFunctionError, DependencyNotReadyError
from flowstone.core.status import Status
from tests.conformance.stage import Stage, drain

p = Pipeline("p")


class Dummy:
    """What one of the assets requires."""


class Other:
    """What none requires."""


class DummyResource(Resource[Dummy]):
    async def setup(self, config: Mapping[str, object]) -> Dummy:
        return Dummy()


class OtherResource(Resource[Other]):
    async def setup(self, config: Mapping[str, object]) -> Other:
        return Other()


@p.asset
async def equipped(ctx: Context, dummy: Dummy = Requires(Dummy)) -> list[object]:
    return [type(dummy).__name__, ctx.partition, ctx.run_id]


@p.asset
async def dep(ctx: Context) -> str:
    return "value"


@p.asset
async def target(dep: str = Dep(dep)) -> tuple[str, str]:
    return "result", dep


@p.asset
async def tolerant(dep: str | None = Dep(dep, optional=True)) -> str:
    return f"given {dep}"


@p.asset
async def boom() -> None:
    raise ValueError("boom")


@pytest.mark.conformance(83)
async def test_an_asset_is_given_the_resource_it_requires_and_the_context(stage: Stage) -> None:
    app = await stage.open(p, resources={Dummy: DummyResource, Other: OtherResource})

    handle = await app.enqueue(equipped, partition="p1")
    await drain(app)

    assert await handle.result(timeout=10) == ["Dummy", "p1", handle.run_id]


@pytest.mark.conformance(94)
async def test_a_stored_dependency_is_loaded_and_the_result_stored(stage: Stage) -> None:
    app = await stage.open(p)
    await app.run(dep, partition="p1")

    value = await app.run(target, partition="p1", with_deps=False)

    assert value == ("result", "value")
    assert await app.get(target, partition="p1") == ("result", "value")


@pytest.mark.conformance(95, 150)
async def test_a_dependency_without_a_value_is_named(stage: Stage) -> None:
    app = await stage.open(p)
    await app.run(dep, partition="p1")

    with pytest.raises(DependencyNotReadyError) as raised:
        await app.run(target, partition="p2", with_deps=False)

    assert raised.value.missing == ("p.dep",)
    assert await app.store.runs() == await app.store.runs(limit=1)


@pytest.mark.conformance(99, 126)
async def test_an_optional_dependency_without_a_value_is_none(stage: Stage) -> None:
    app = await stage.open(p)

    assert await app.run(tolerant, with_deps=False) == "given None"


@pytest.mark.conformance(100)
async def test_a_success_tells_its_start_and_then_its_stop(stage: Stage) -> None:
    app = await stage.open(p)

    await app.run(dep)

    start, stop = stage.listener.of("materialization.")
    assert (start.name, stop.name) == ("materialization.start", "materialization.stop")
    assert start.metadata["asset"] == stop.metadata["asset"] == "p.dep"
    assert stop.measurements["duration"] >= 0


@pytest.mark.conformance(101, 106)
async def test_a_failure_tells_its_exception_and_no_stop(stage: Stage) -> None:
    app = await stage.open(p)

    with pytest.raises(RunFailedError):
        await app.run(boom)

    start, exception = stage.listener.of("materialization.")
    assert (start.name, exception.name) == ("materialization.start", "materialization.exception")
    assert isinstance(exception.metadata["error"], AssetFunctionError)


@pytest.mark.conformance(101, 119)
async def test_a_failure_is_counted_once_and_logged_as_an_error(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    app = await stage.open(p)

    with pytest.raises(RunFailedError):
        await app.run(boom)

    (error,) = stage.listener.of("error")
    assert error.measurements == {"count": 1}
    assert error.metadata["asset"] == "p.boom"
    assert error.metadata["type"] == "execution_error"
    assert [record.levelno for record in caplog.records if "p.boom" in record.getMessage()] == [
        logging.ERROR
    ]


@pytest.mark.conformance(103)
async def test_one_run_has_one_materialization_of_an_asset_s_partition(stage: Stage) -> None:
    app = await stage.open(p)

    handle = await app.enqueue_many([dep, target, dep], partition="p1")
    await drain(app)

    rows = await app.store.materializations(handle.run_id)
    assert sorted((row.key, row.status) for row in rows) == [
        (Key("p.dep", "p1"), Status.SUCCEEDED),
        (Key("p.target", "p1"), Status.SUCCEEDED),
    ]


@pytest.mark.conformance(104)
async def test_a_success_records_what_it_was_made_from(stage: Stage) -> None:
    app = await stage.open(p)

    await app.run(target, partition="p1")

    upstream, _ = await app.store.lineage(Key("p.target", "p1"))
    _, downstream = await app.store.lineage(Key("p.dep", "p1"))
    assert list(upstream) == [Key("p.dep", "p1")]
    assert list(downstream) == [Key("p.target", "p1")]
