"""Parallel assets at work: branches beside each other, and a join."""

import asyncio
import json
from typing import Any

import pytest

from flowstone import Cancel, Config, Dep, FlowStone, Pipeline, Retry, RunFailedError, Skip, Snooze
from flowstone.plugins.parallel import (
    Branch,
    ExecutionStatus,
    Failed,
    Ok,
    Outcome,
    ParallelCoordinator,
    Skipped,
    parallel,
)
from tests.application.conftest import AppOf
from tests.application.stage import Heard, Stage, drain, statuses, steps, working
from tests.plugins.parallel.in_processes import apart, joined

PARALLEL_EVENTS = [
    f"flowstone.parallel.{it}"
    for it in ("start", "stop", "error", "branch_start", "branch_complete", "branch_fail")
]


def success() -> Pipeline:
    """The pipeline of the cases: two branches and the join depend on ``dep``."""
    p = Pipeline("p")

    @p.asset
    async def dep() -> str:
        return "dep"

    @p.asset
    async def step_a(dep: str = Dep(dep)) -> list[str]:
        return ["a", dep]

    @p.asset
    async def branch_a(step: list[str] = Dep(step_a)) -> list[str]:
        return step

    @p.asset
    def branch_b(dep: str = Dep(dep)) -> list[str]:
        return ["b", dep]

    @p.asset
    @parallel()
    async def joined(
        dep: str = Dep(dep), a: list[str] = Branch(branch_a), b: list[str] = Branch(branch_b)
    ) -> dict[str, Any]:
        return {"branches": {"a": a, "b": b}, "dep": dep}

    @p.asset
    async def after(joined: dict[str, Any] = Dep(joined)) -> int:
        return len(joined["branches"])

    return p


JOINED = {"branches": {"a": ["a", "dep"], "b": ["b", "dep"]}, "dep": "dep"}


class TestJoin:
    @pytest.mark.conformance(325, 326, 333)
    async def test_branches_run_with_all_they_are_made_from_in_the_same_run(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(success())

        handle = await app.enqueue("after")
        await drain(app)

        assert await handle.result(60) == 2
        assert await app.get("joined") == JOINED
        assert set(await statuses(app, handle.run_id)) == {
            "dep",
            "step_a",
            "branch_a",
            "branch_b",
            "joined",
            "after",
        }

    async def test_here_and_now(self, app_of: AppOf) -> None:
        app = await app_of(success())

        assert await asyncio.wait_for(app.run("joined", partition="x"), 10) == JOINED

    async def test_nothing_polls_for_the_end_of_a_branch(self, app_of: AppOf) -> None:
        app = await app_of(success())
        handle = await app.enqueue("after")

        async with working(app):
            assert await handle.result(60) == 2

    @pytest.mark.conformance(53)
    async def test_no_branch_begins_before_the_parallel_asset_has(self, app_of: AppOf) -> None:
        p = success()
        order = []

        class Told(Heard):
            def __call__(self, event: str, numbers: Any, facts: Any) -> None:
                if event.endswith("materialization.start"):
                    order.append(facts["asset"])

        app = await app_of(p)
        Told(app)
        await app.run("joined")

        first, second, *rest = order
        assert (first, second) == ("p.dep", "p.joined")
        assert sorted(rest) == ["p.branch_a", "p.branch_b", "p.joined", "p.step_a"]

    @pytest.mark.conformance(329)
    async def test_its_lineage_has_its_own_upstreams_and_the_branches(self, app_of: AppOf) -> None:
        app = await app_of(success())
        await app.run("joined")

        upstream, _ = await app.store.lineage(await _key(app, "joined"))

        assert [it.asset for it in upstream] == ["p.branch_a", "p.branch_b", "p.dep"]

    async def test_what_is_fresh_is_reused(self, app_of: AppOf) -> None:
        app = await app_of(success())
        await app.run("branch_a")
        handle = await app.enqueue("joined")
        await drain(app)

        assert await handle.result(60) == JOINED
        assert set(await statuses(app, handle.run_id)) == {"branch_b", "joined"}
        assert {it.key.asset for it in await app.plan("joined") if it.action == "run"} == set()

    async def test_a_branch_that_is_newer_makes_it_stale(self, app_of: AppOf) -> None:
        app = await app_of(success())
        await app.run("joined")
        await app.run("branch_b", force=True)

        ran = {it.key.asset for it in await app.plan("joined") if it.action == "run"}

        assert ran == {"p.joined"}

    async def test_all_branches_fresh_are_joined_at_once(self, app_of: AppOf) -> None:
        app = await app_of(success())
        await app.run("joined")

        handle = await app.enqueue("joined", force=True)
        await drain(app)

        assert await handle.result(60) == JOINED
        assert set(await statuses(app, handle.run_id)) == {"joined"}

    @pytest.mark.conformance(334)
    @pytest.mark.parametrize(
        ("returned", "status"),
        [
            (1, "succeeded"),
            (None, "succeeded"),
            (Skip("quiet"), "skipped"),
            (Cancel("no"), "cancelled"),
            (ValueError("no"), "failed"),
        ],
        ids=str,
    )
    async def test_what_it_returns_means_what_it_means_anywhere(
        self, app_of: AppOf, returned: Any, status: str
    ) -> None:
        def join() -> Any:
            if isinstance(returned, Exception):
                raise returned
            return returned

        app = await app_of(joining(join))
        handle = await app.enqueue("joined")
        await drain(app)

        assert (await statuses(app, handle.run_id))["joined"] == status

    @pytest.mark.conformance(332)
    async def test_a_join_that_gives_the_branches_back_is_the_map_of_them(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")
        one = p.asset(name="one")(lambda: 1)

        @p.asset
        @parallel()
        def joined(a: object = Branch(one), b: object = Branch(one)) -> dict[str, object]:
            return {"a": a, "b": b}

        app = await app_of(p)

        assert await app.run("joined") == {"a": 1, "b": 1}

    @pytest.mark.conformance(335)
    async def test_a_join_that_raises_fails_the_asset(self, app_of: AppOf) -> None:
        def join() -> int:
            raise ValueError("cannot join")

        app = await app_of(joining(join))
        with pytest.raises(RunFailedError, match="cannot join"):
            await app.run("joined")

        (run,) = await app.store.runs(limit=1)
        step = (await steps(app, run.run_id))["joined"]
        assert json.loads(step.error or "")["code"] == "execution_error"
        status = await app.coordinator(ParallelCoordinator).status(step.id)
        assert status.status is ExecutionStatus.FAILED

    async def test_a_join_that_failed_is_tried_again_and_the_branches_are_not(
        self, app_of: AppOf
    ) -> None:
        calls = []

        def join() -> int:
            calls.append(1)
            if len(calls) < 3:
                raise ConnectionError("not now")
            return len(calls)

        app = await app_of(joining(join, retry=Retry(3, base=0)))

        assert await app.run("joined") == 3
        (run,) = await app.store.runs(limit=1)
        rows = await steps(app, run.run_id)
        assert (rows["one"].attempt, rows["joined"].attempt) == (1, 3)
        status = await app.coordinator(ParallelCoordinator).status(rows["joined"].id)
        assert status.status is ExecutionStatus.COMPLETE

    async def test_a_join_may_snooze(self, app_of: AppOf, stage: Stage) -> None:
        answers: list[Any] = [Snooze("1h"), 7]
        app = await app_of(joining(lambda: answers.pop(0)))
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("2h")
        await drain(app)

        assert await handle.result(60) == 7


def joining(join: Any, **options: Any) -> Pipeline:
    """One branch, and a join that calls this."""
    p = Pipeline("p")
    one = p.asset(name="one")(lambda: 1)

    @p.asset(**options)
    @parallel()
    def joined(one: int = Branch(one)) -> object:
        return join()

    return p


async def _key(app: Any, name: str) -> Any:
    (run,) = await app.store.runs(limit=1)
    return (await steps(app, run.run_id))[name].key


class TestNested:
    async def test_a_parallel_asset_in_a_branch(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        one = p.asset(name="one")(lambda: 1)
        two = p.asset(name="two")(lambda: 2)

        @p.asset
        @parallel()
        async def inner(one: int = Branch(one), two: int = Branch(two)) -> int:
            return one + two

        @p.asset
        async def doubled(inner: int = Dep(inner)) -> int:
            return 2 * inner

        @p.asset
        @parallel()
        async def outer(doubled: int = Branch(doubled), two: int = Branch(two)) -> int:
            return doubled + two

        app = await app_of(p)

        assert await asyncio.wait_for(app.run("outer"), 10) == 8

    async def test_what_fails_inside_a_tolerated_branch_is_tolerated(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def bad() -> int:
            raise ValueError("boom")

        @p.asset
        @parallel()
        async def inner(bad: int = Branch(bad)) -> int:
            return bad

        @p.asset
        @parallel(failure_mode="partial")
        async def outer(inner: Outcome[int] = Branch(inner, required=False)) -> str:
            return str(inner)

        app = await app_of(p)
        handle = await app.enqueue("outer")
        await drain(app)

        expected = Failed("branches failed: bad: ValueError: boom", "branches_failed")
        assert await handle.result(60) == str(expected)
        assert (await handle.status()).status == "succeeded"


class TestTelemetry:
    @pytest.mark.conformance(330)
    async def test_of_a_success(self, app_of: AppOf) -> None:
        app = await app_of(success())
        heard = Heard(app, PARALLEL_EVENTS)

        await app.run("joined")

        assert sorted(heard.names) == [
            "parallel.branch_complete",
            "parallel.branch_complete",
            "parallel.branch_start",
            "parallel.branch_start",
            "parallel.start",
            "parallel.stop",
        ]
        (numbers, facts) = heard.of("parallel.stop")[0]
        assert numbers["duration"] >= 0
        assert facts["asset"] == "p.joined"
        ((_, begun), _) = heard.of("parallel.branch_start")
        assert (begun["branch"], begun["final_asset"]) == ("a", "p.branch_a")

    @pytest.mark.conformance(331)
    async def test_of_a_failure(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def bad() -> int:
            raise ValueError("boom")

        @p.asset
        @parallel()
        async def joined(bad: int = Branch(bad)) -> int:
            return bad

        app = await app_of(p)
        heard = Heard(app, PARALLEL_EVENTS)
        with pytest.raises(RunFailedError):
            await app.run("joined")

        assert heard.names == [
            "parallel.start",
            "parallel.branch_start",
            "parallel.branch_fail",
            "parallel.error",
        ]
        assert "boom" in str(heard.of("parallel.branch_fail")[0][1]["error"])


class TestInputs:
    async def test_config_and_partition_reach_the_join(self, app_of: AppOf) -> None:
        class JoinConfig(Config):
            factor: int = 1

        p = Pipeline("p")
        one = p.asset(name="one")(lambda: 1)

        @p.asset
        @parallel()
        async def joined(config: JoinConfig, one: int = Branch(one)) -> int:
            return one * config.factor

        app = await app_of(p)

        assert await app.run("joined", partition=3, config={"factor": 5}) == 5

    async def test_without_upstreams_the_branches_stored_are_taken(self, app_of: AppOf) -> None:
        app = await app_of(success())
        await app.run("joined")

        assert await app.run("joined", with_deps=False, force=True) == JOINED

    async def test_the_outcomes_reach_a_child_process(self) -> None:
        async with FlowStone(apart) as app:
            said = await app.run(joined)

        assert said == [
            "1",
            str(Ok(1)),
            str(Failed("ValueError: boom", "execution_error")),
            str(Skipped("no")),
        ]
