"""Section H: what a worker makes of a job, and of what its run says."""

import json
import logging

import asyncpg
import pytest

from flowstone import Config, Context, Dep, Pipeline
from flowstone.core.status import RunStatus, Status
from tests.conformance.stage import Stage, drain

p = Pipeline("p")
computed: list[object] = []

on_postgres = pytest.mark.parametrize(
    "store_dsn", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


class Greeting(Config):
    word: str = "hello"


@p.asset
async def dep(ctx: Context) -> str:
    computed.append(ctx.partition)
    return "value"


@p.asset
async def target(dep: str = Dep(dep)) -> str:
    return f"made from {dep}"


@p.asset
async def greeting(config: Greeting) -> str:
    return config.word


@pytest.mark.conformance(125)
async def test_a_job_whose_dependency_is_stored_stores_its_value(stage: Stage) -> None:
    app = await stage.open(p)
    await app.run(dep)

    handle = await app.enqueue(target, with_deps=False)
    await drain(app)

    assert await handle.result(timeout=10) == "made from value"
    assert await app.get(target) == "made from value"


@on_postgres
@pytest.mark.conformance(127)
async def test_a_job_of_an_asset_that_the_worker_does_not_know_is_handed_back(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    newer, older = await stage.open(p), await stage.open(Pipeline("p"))
    handle = await newer.enqueue(dep)

    with caplog.at_level(logging.WARNING):
        await drain(older)

    assert "p.dep" in caplog.text
    (row,) = await newer.store.materializations(handle.run_id)
    assert row.status is Status.READY
    assert (await handle.status()).status is RunStatus.RUNNING


@on_postgres
@pytest.mark.conformance(128, 129)
async def test_the_arguments_of_a_job_are_keys_in_json(
    stage: Stage, pg: asyncpg.Connection
) -> None:
    app = await stage.open(p)

    handle = await app.enqueue(target, partition="p1")

    found = await pg.fetch("SELECT args FROM flowstone.procrastinate_jobs ORDER BY id")
    assert [json.loads(row["args"]) for row in found] == [
        {"run_id": handle.run_id, "asset": "p.dep", "partition": "p1"}
    ]
    await drain(app)
    assert await handle.result(timeout=10) == "made from value"


@pytest.mark.conformance(133)
async def test_a_run_that_says_nothing_uses_the_defaults(stage: Stage) -> None:
    app = await stage.open(p)

    handle = await app.enqueue(greeting)
    await drain(app)

    assert (await handle.status()).options is None
    assert await handle.result(timeout=10) == "hello"


@pytest.mark.conformance(134)
async def test_what_is_enqueued_twice_is_computed_once(stage: Stage) -> None:
    app = await stage.open(p)
    computed.clear()

    first = await app.enqueue(dep, partition="twice", dedupe="twice")
    second = await app.enqueue(dep, partition="twice", dedupe="twice")
    await drain(app)

    assert first.run_id == second.run_id
    assert computed == ["twice"]


@pytest.mark.conformance(141)
async def test_an_option_that_is_none_leaves_the_default(stage: Stage) -> None:
    app = await stage.open(p)

    handle = await app.enqueue(
        greeting, io=None, config=None, queue=None, priority=None, at=None, dedupe=None
    )
    await drain(app)

    assert await handle.result(timeout=10) == "hello"
