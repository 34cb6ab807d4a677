"""
Whatever the graph and whatever happened before: what `plan` says is what `run` does, and both are
what a simple model of freshness says.
"""

from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings

from flowstone import FlowStone, RunFailedError
from flowstone.core.errors import DependencyNotReadyError
from flowstone.core.planner import Action
from flowstone.core.status import Status
from tests.application.conftest import in_memory, on_postgres
from tests.application.stage import Stage, newest_run
from tests.application.story import (
    Ask,
    Change,
    Destine,
    Invalidate,
    Model,
    Numbers,
    Shape,
    Step,
    pipeline,
    stories,
)

ENDS = {"succeed": Status.SUCCEEDED, "fail": Status.FAILED, "skip": Status.SKIPPED}
NAMES = (f"story{number}" for number in count())


async def play(stage: Stage, shape: Shape, steps: list[Step]) -> None:
    steps = list(steps)
    model, numbers, name = Model(shape), Numbers(), next(NAMES)
    while steps:
        async with stage.build(pipeline(name, model, numbers)) as app:
            while steps and not isinstance(steps[0], Change):
                match steps.pop(0):
                    case Ask() as ask:
                        await asked(app, name, model, numbers, ask)
                    case Invalidate(asset, partition, downstream) as invalidate:
                        model.invalidate(invalidate)
                        target = f"{name}.n{asset}"
                        await app.invalidate(target, partition=partition, downstream=downstream)
                    case Destine(asset, fate):
                        model.fates[asset] = fate
        while steps and isinstance(steps[0], Change):
            asset = steps.pop(0).asset
            model.versions[asset] = model.versions.get(asset, 0) + 1


async def asked(app: FlowStone, name: str, model: Model, numbers: Numbers, ask: Ask) -> None:
    targets = [f"{name}.n{number}" for number in ask.targets]
    options = {"partition": ask.partition, "force": ask.force, "with_deps": ask.with_deps}
    expected = model.runs(ask)
    if expected is None:
        with pytest.raises(DependencyNotReadyError):
            await app.plan(targets, **options)
        with pytest.raises(DependencyNotReadyError):
            await app.run(targets, **options)
        return

    plan = {
        it.key.asset.removeprefix(f"{name}.n"): (it.action, it.reason)
        for it in await app.plan(targets, **options)
    }
    with suppress(RunFailedError):
        await app.run(targets, **options)

    record = await newest_run(app)
    rows = {
        it.key.asset.removeprefix(f"{name}.n"): it
        for it in await app.store.materializations(record.run_id)
    }
    ran = {number: it.reason for number, it in rows.items()}
    assert ran == {number: why for number, (what, why) in plan.items() if what is Action.RUN}
    assert sorted(map(int, ran)) == expected
    reused = {
        it.key.asset.removeprefix(f"{name}.n") for it in await app.store.reused(record.run_id)
    }
    assert reused == {number for number, (what, _) in plan.items() if what is Action.REUSE}

    # What was computed is what the rows say, each once.
    done = list(numbers.taken())
    computed = {str(asset): rows[str(asset)].status for asset, *_ in done}
    assert len(computed) == len(done)
    for asset, partition, number, loaded in done:
        fate = model.fates.get(asset, "succeed")
        assert computed[str(asset)] == ENDS[fate]
        if fate == "succeed":
            model.make(asset, partition, number, loaded)
    for number, row in rows.items():
        if number not in computed:
            assert row.status in (Status.UPSTREAM_FAILED, Status.SKIPPED)

    if set(computed) == set(ran) and all(it is Status.SUCCEEDED for it in computed.values()):
        again = await app.plan(targets, **{**options, "force": False})
        assert [it.key.asset for it in again if it.action is Action.RUN] == []


def many(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@in_memory
@given(stories())
@many(100)
async def test_a_plan_is_what_a_run_does(stage: Stage, story: tuple[Shape, list[Step]]) -> None:
    await play(stage, *story)


@on_postgres
@given(stories())
@many(15)
async def test_a_plan_is_what_a_run_does_on_postgres(
    stage: Stage, story: tuple[Shape, list[Step]]
) -> None:
    await play(stage, *story)
