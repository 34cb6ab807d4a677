"""Parallel assets at work: branches beside each other, and a join."""

import asyncio
import json
from typing import Any

import pytest

from flowstone import Cancel, Config, Dep, FlowStone, Pipeline, Retry, RunFailedError, Skip, Snooze
from flowstone.core.errors import RunCancelledError
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
from tests.application.stage import Heard, Stage, drain, eventually, statuses, steps, working
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

        assert await handle.result(10) == 2
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
            assert await handle.result(10) == 2

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

        assert await handle.result(10) == JOINED
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

        assert await handle.result(10) == JOINED
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

        assert await handle.result(10) == 7


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


def mixed(**options: Any) -> Pipeline:
    """Branches that end well, are skipped and fail."""
    p = Pipeline("p")

    @p.asset
    async def good() -> str:
        return "ok"

    @p.asset
    async def unselected() -> str | Skip:
        return Skip("not selected")

    @p.asset
    async def below(unselected: str = Dep(unselected)) -> str:
        return unselected

    @p.asset
    async def cause() -> str:
        raise ValueError("boom")

    @p.asset
    async def bad(cause: str = Dep(cause)) -> str:
        return cause

    @p.asset
    @parallel(failure_mode="partial")
    async def joined(
        good: Outcome[str] = Branch(good, required=False),
        skipped: Outcome[str] = Branch(below, required=False),
        bad: Outcome[str] = Branch(bad, required=False),
        raised: Outcome[str] = Branch(cause, required=False),
    ) -> list[str]:
        return [f"{it}" for it in (good, skipped, bad, raised)]

    return p


class TestPartial:
    @pytest.mark.conformance(327, 344)
    async def test_the_join_is_told_how_each_branch_ended(self, app_of: AppOf) -> None:
        app = await app_of(mixed())

        said = await app.run("joined")

        assert said == [
            str(Ok("ok")),
            str(Skipped("upstream p.unselected skipped")),
            str(Failed("upstream p.cause failed", "dependency_failed")),
            str(Failed("ValueError: boom", "execution_error")),
        ]
        (run,) = await app.store.runs(limit=1)
        id_ = (await steps(app, run.run_id))["joined"].id
        status = await app.coordinator(ParallelCoordinator).status(id_)
        assert (status.completed, status.failed) == (2, 2)
        assert status.status is ExecutionStatus.COMPLETE

    async def test_what_is_tolerated_does_not_fail_the_run(self, app_of: AppOf) -> None:
        app = await app_of(mixed())
        handle = await app.enqueue("joined")
        await drain(app)

        record = await handle.status()

        assert record.status == "succeeded"
        assert (record.counts["failed"], record.counts["upstream_failed"]) == (1, 1)  # type: ignore[index]

    async def test_what_was_asked_for_itself_fails_it(self, app_of: AppOf) -> None:
        app = await app_of(mixed())
        handle = await app.enqueue_many(["joined", "bad"])
        await drain(app)

        assert (await handle.status()).status == "failed"
        assert (await statuses(app, handle.run_id))["joined"] == "succeeded"

    async def test_a_required_branch_that_fails_lets_the_others_end(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        gate = asyncio.Event()

        @p.asset
        async def bad() -> int:
            raise ValueError("boom")

        @p.asset
        async def slow() -> int:
            await gate.wait()
            return 2

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(bad: int = Branch(bad), slow: Outcome[int] = Branch(slow, required=False)):
            raise AssertionError("never joined")

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            await eventually(lambda: _is(app, handle, bad="failed", slow="running"))
            assert (await statuses(app, handle.run_id))["joined"] == "waiting"
            gate.set()
            await handle.wait(10)

        assert await statuses(app, handle.run_id) == {
            "bad": "failed",
            "slow": "succeeded",
            "joined": "failed",
        }

    @pytest.mark.conformance(336)
    async def test_one_that_is_not_waited_for_is_skipped_and_stopped(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        stopped = asyncio.Event()

        @p.asset
        async def endless() -> int:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
            return 1

        @p.asset
        async def quick() -> int:
            return 1

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(
            quick: int = Branch(quick),
            endless: Outcome[int] = Branch(endless, required=False, wait=False),
        ) -> str:
            return str(endless)

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            assert await handle.result(10) == str(Skipped("not waited for"))
            await asyncio.wait_for(stopped.wait(), 10)
            assert (await handle.wait(10)).status == "succeeded"

        assert (await statuses(app, handle.run_id))["endless"] == "cancelled"


async def _is(app: Any, handle: Any, **expected: str) -> bool:
    found = await statuses(app, handle.run_id)
    return all(found.get(name) == status for name, status in expected.items())


class TestAllOrNothing:
    @pytest.mark.conformance(328)
    async def test_one_failure_fails_it_at_once_and_stops_the_rest(
        self, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        p = Pipeline("p")
        stopped = asyncio.Event()

        @p.asset
        async def bad() -> int:
            raise ValueError("boom")

        @p.asset
        async def endless() -> int:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
            return 1

        @p.asset
        async def behind(endless: int = Dep(endless)) -> int:
            return endless

        @p.asset
        @parallel()
        async def joined(bad: int = Branch(bad), behind: int = Branch(behind)) -> int:
            raise AssertionError("never joined")

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            with pytest.raises(RunFailedError, match="boom"):
                await handle.result(10)

        assert stopped.is_set()
        assert await statuses(app, handle.run_id) == {
            "bad": "failed",
            "endless": "cancelled",
            "behind": "cancelled",
            "joined": "failed",
        }
        error = json.loads((await steps(app, handle.run_id))["joined"].error or "")
        assert error["code"] == "branches_failed"
        assert error["message"] == "branches failed: bad: ValueError: boom"
        assert not await app.exists("joined")
        assert "branches failed: bad: ValueError: boom" in caplog.text

    async def test_a_branch_that_is_tried_again_has_not_failed(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        attempts = []

        @p.asset(retry=Retry(2, base=0))
        async def flaky() -> int:
            attempts.append(1)
            if len(attempts) == 1:
                raise ValueError("once")
            return 1

        @p.asset
        @parallel()
        async def joined(flaky: int = Branch(flaky)) -> int:
            return flaky

        app = await app_of(p)

        assert await app.run("joined") == 1

    async def test_a_skipped_branch_skips_it(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        empty = p.asset(name="empty")(lambda: Skip("nothing new"))
        one = p.asset(name="one")(lambda: 1)

        @p.asset
        @parallel()
        async def joined(empty: object = Branch(empty), one: int = Branch(one)) -> int:
            raise AssertionError("never joined")

        app = await app_of(p)
        handle = await app.enqueue("joined")
        await drain(app)

        assert await handle.result(10) is None
        assert (await handle.status()).status == "succeeded"
        assert (await statuses(app, handle.run_id))["joined"] == "skipped"

    async def test_a_failed_branch_is_computed_again_by_a_retry_and_the_others_reused(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")
        failures = [ValueError("boom")]

        @p.asset
        async def bad() -> int:
            if failures:
                raise failures.pop()
            return 1

        @p.asset
        async def good() -> int:
            return 2

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(bad: int = Branch(bad), good: int = Branch(good)) -> int:
            return bad + good

        app = await app_of(p)
        with pytest.raises(RunFailedError):
            await app.run("joined")
        (run,) = await app.store.runs(limit=1)

        again = await app.retry(run.run_id)
        await drain(app)

        assert await again.result(10) == 3
        assert set(await statuses(app, again.run_id)) == {"bad", "joined"}


class TestNotBegun:
    @pytest.mark.parametrize(("how", "status"), [("skip", "skipped"), ("fail", "upstream_failed")])
    async def test_without_what_it_needs_itself_no_branch_begins(
        self, app_of: AppOf, how: str, status: str
    ) -> None:
        p = Pipeline("p")

        @p.asset
        async def first() -> int | Skip:
            if how == "skip":
                return Skip("not today")
            raise ValueError("no")

        @p.asset
        async def start() -> int:
            raise AssertionError("a branch began")

        @p.asset
        async def branch(start: int = Dep(start)) -> int:
            return start

        @p.asset
        @parallel()
        async def joined(first: int = Dep(first), branch: int = Branch(branch)) -> int:
            return branch

        app = await app_of(p)
        handle = await app.enqueue("joined")
        await drain(app)

        ended = await statuses(app, handle.run_id)
        assert {ended[name] for name in ("start", "branch", "joined")} == {status}

    async def test_a_cancelled_run_leaves_nothing_waiting(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def endless() -> int:
            await asyncio.Event().wait()
            return 1

        @p.asset
        @parallel()
        async def joined(endless: int = Branch(endless)) -> int:
            return endless

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            await eventually(lambda: _is(app, handle, joined="waiting", endless="running"))
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result(10)

        assert await statuses(app, handle.run_id) == dict.fromkeys(
            ("endless", "joined"), "cancelled"
        )


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
        assert await handle.result(10) == str(expected)
        assert (await handle.status()).status == "succeeded"


class TestTimeouts:
    def late(self, overall: str | None, own: str | None, required: bool) -> Pipeline:
        p = Pipeline("p")

        @p.asset(queue="nobody")
        async def never() -> int:
            raise AssertionError("nobody works on this queue")

        @p.asset
        async def quick() -> int:
            return 1

        branch = Branch(never, required=required, timeout=own)  # type: ignore[call-overload]

        @p.asset
        @parallel(failure_mode="partial", timeout=overall)
        async def joined(quick: int = Branch(quick), never: Any = branch) -> str:
            return str(never)

        if not required:
            joined.function.__annotations__["never"] = Outcome[int]
        return p

    @pytest.mark.conformance(337)
    @pytest.mark.parametrize(("overall", "own"), [("30m", None), (None, "30m"), ("1d", "30m")])
    async def test_a_required_branch_that_takes_too_long_fails_it(
        self, app_of: AppOf, stage: Stage, overall: str | None, own: str | None
    ) -> None:
        app = await app_of(self.late(overall, own, required=True))
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("29m")
        await drain(app)
        assert (await statuses(app, handle.run_id))["joined"] == "waiting"

        await stage.advance("2m")
        await drain(app)

        step = (await steps(app, handle.run_id))["joined"]
        assert json.loads(step.error or "")["code"] == "timeout"
        assert await statuses(app, handle.run_id) == {
            "quick": "succeeded",
            "never": "cancelled",
            "joined": "failed",
        }
        status = await app.coordinator(ParallelCoordinator).status(step.id)
        assert status.status is ExecutionStatus.FAILED
        assert (await handle.status()).status == "failed"

    async def test_an_optional_one_is_joined_as_failed(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(self.late("30m", None, required=False))
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("31m")
        await drain(app)

        assert await handle.result(10) == str(Failed("branch 'never' took too long", "timeout"))
        assert (await statuses(app, handle.run_id))["never"] == "cancelled"
        assert (await handle.status()).status == "succeeded"

    async def test_one_branch_is_late_and_the_others_go_on(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        p = Pipeline("p")

        @p.asset(queue="nobody")
        async def never() -> int:
            return 1

        @p.asset(queue="later")
        async def later() -> int:
            return 2

        @p.asset
        @parallel(failure_mode="partial", timeout="2h")
        async def joined(
            never: Outcome[int] = Branch(never, required=False, timeout="10m"),
            later: int = Branch(later),
        ) -> list[str]:
            return [str(never), str(later)]

        app = await app_of(p)
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("11m")
        await drain(app)
        assert await statuses(app, handle.run_id) == {
            "never": "cancelled",
            "later": "ready",
            "joined": "waiting",
        }

        async with working(app, default=20, later=1):
            await handle.wait(10)

        assert await handle.result(10) == [
            str(Failed("branch 'never' took too long", "timeout")),
            "2",
        ]


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
