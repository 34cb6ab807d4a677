"""A router selects one of its branches in a run, or none, and the others are not called."""

from collections.abc import Callable
from typing import Literal

import pytest

from flowstone import Cancel, Context, Dep, Pipeline, Retry, RunFailedError, Skip, Snooze
from flowstone.core.errors import DependencyFailedError
from flowstone.plugins.routing import (
    Decision,
    FirstOf,
    InvalidBranchError,
    InvalidPredicateError,
    RoutingCoordinator,
    Rule,
    choice,
    route,
    routed_from,
)
from tests.application.conftest import AppOf
from tests.application.stage import Heard, drain, newest_run, statuses, steps
from tests.plugins.routing.regions import Regions, regions


class TestRules:
    @pytest.mark.conformance(306, 310)
    async def test_the_first_true_one_selects_and_the_other_branch_is_not_called(
        self, app_of: AppOf
    ) -> None:
        world = Regions("mgrs")
        app = await app_of(regions(world))

        assert await app.run("region") == "square of mgrs"

        assert world.called == ["query", "kind", "is_mgrs", "by_mgrs", "region"]
        run = await newest_run(app)
        assert (await statuses(app, run.run_id))["by_name"] == "skipped"
        assert not await app.exists("by_name")

    @pytest.mark.conformance(310)
    async def test_those_after_a_false_one_are_asked(self, app_of: AppOf) -> None:
        world = Regions("name")
        app = await app_of(regions(world))

        assert await app.run("region") == "place of name"
        assert "is_name" in world.called

    @pytest.mark.conformance(311)
    async def test_the_default_is_taken_when_none_is_true(self, app_of: AppOf) -> None:
        app = await app_of(regions(Regions("elsewhere")))

        assert await app.run("region") == "place of elsewhere"
        decision = await app.get("kind")
        assert isinstance(decision, Decision)
        assert (decision.rule, decision.predicate) == (Rule.DEFAULT, None)

    @pytest.mark.conformance(311)
    async def test_without_a_default_every_branch_is_skipped_and_what_they_meet_in(
        self, app_of: AppOf
    ) -> None:
        world = Regions("elsewhere")
        app = await app_of(regions(world, default=None))
        handle = await app.enqueue("region")

        await drain(app)

        assert (await handle.status()).status == "succeeded"
        skipped = {"by_mgrs": "skipped", "by_name": "skipped", "region": "skipped"}
        assert await statuses(app, handle.run_id) == {
            "query": "succeeded",
            "kind": "succeeded",
            **skipped,
        }
        assert not set(world.called) & set(skipped)
        assert (await app.get("kind")).selected_branch is None  # type: ignore[attr-defined]

    async def test_a_skipped_branch_says_what_was_selected_instead_and_why(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(regions(Regions("mgrs")))
        await app.run("region")

        run = await newest_run(app)
        found = (await steps(app, run.run_id))["by_name"]

        assert "not selected: sales.kind selected mgrs (looks_like_mgrs)" in (found.error or "")

    async def test_a_predicate_may_be_async_and_have_sources_of_its_own(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")

        @p.asset
        def limit() -> int:
            return 3

        async def is_long(text: str, ctx: Context, limit: int = Dep(limit)) -> bool:
            return len(text) > limit and ctx.asset == "p.size"

        @p.asset
        @route(choice("long", when=is_long), default="short")
        def size() -> str:
            return "four"

        @p.asset
        @routed_from(size, "long")
        def long() -> str:
            return "long"

        @p.asset
        @routed_from(size, "short")
        def short() -> str:
            return "short"

        @p.asset
        def either(found: str = FirstOf(long, short)) -> str:
            return found

        app = await app_of(p)

        assert await app.run(either) == "long"
        assert set(app.definitions.dag.upstream["p.size"]) == {"p.limit"}


class TestFunctionForm:
    def made(self, returned: list[object]) -> Pipeline:
        p = Pipeline("p")

        @p.asset
        @route
        async def router() -> Literal["branch_a", "branch_b"] | None:
            return returned[0]  # type: ignore[return-value]  # whatever a test wants

        @p.asset
        @routed_from(router, "branch_a")
        async def branch_a() -> str:
            return "a"

        @p.asset
        @routed_from(router, "branch_b")
        async def branch_b() -> str:
            return "b"

        @p.asset
        async def merged(
            a: str | None = Dep(branch_a, optional=True),
            b: str | None = Dep(branch_b, optional=True),
        ) -> list[str | None]:
            return [a, b]

        return p

    @pytest.mark.conformance(305)
    async def test_what_it_returns_is_the_branch(self, app_of: AppOf) -> None:
        app = await app_of(self.made(["branch_a"]))

        await app.run("merged")

        run = await newest_run(app)
        router = (await steps(app, run.run_id))["router"]
        expected = Decision(
            *(router.id, run.run_id, "p.router", "", "branch_a"),
            available_branches=("branch_a", "branch_b"),
            rule=Rule.FUNCTION,
        )
        assert await app.get("router") == expected
        routing = app.coordinator(RoutingCoordinator)
        assert await routing.get(run.run_id, "p.router", "") == expected

    @pytest.mark.conformance(307)
    async def test_an_optional_dependency_on_an_unselected_branch_is_none(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(self.made(["branch_b"]))

        assert await app.run("merged") == [None, "b"]

    async def test_none_selects_no_branch(self, app_of: AppOf) -> None:
        app = await app_of(self.made([None]))

        assert await app.run("merged") == [None, None]

    async def test_what_is_no_branch_fails_even_with_a_fallback(self, app_of: AppOf) -> None:
        app = await app_of(self.made(["branch_c"]))

        with pytest.raises(RunFailedError) as caught:
            await app.run("router")

        error = caught.value.__cause__
        assert isinstance(error, InvalidBranchError)
        assert "selected 'branch_c', which is no branch of it. Did you mean 'branch_" in str(error)
        assert error.available == ("branch_a", "branch_b")

    @pytest.mark.parametrize("outcome", ["skip", "snooze"])
    async def test_it_may_skip_and_snooze_as_any_asset(self, app_of: AppOf, outcome: str) -> None:
        returned: list[object] = [Skip("none today") if outcome == "skip" else Snooze("1h")]
        app = await app_of(self.made(returned))
        handle = await app.enqueue("merged")

        await drain(app)

        stood = await statuses(app, handle.run_id)
        assert stood["router"] == ("skipped" if outcome == "skip" else "ready")
        assert stood["branch_a"] == ("skipped" if outcome == "skip" else "pending")
        assert await app.coordinator(RoutingCoordinator).decisions(handle.run_id) == []


class TestDecidingFails:
    @pytest.mark.conformance(312)
    async def test_the_run_fails_and_nothing_is_decided(self, app_of: AppOf) -> None:
        world = Regions(failures=[ValueError("no such grid")])
        app = await app_of(regions(world))
        heard = Heard(app)

        with pytest.raises(RunFailedError) as caught:
            await app.run("region")

        assert isinstance(caught.value.__cause__, DependencyFailedError)
        run = await newest_run(app)
        assert await statuses(app, run.run_id) == {
            "query": "succeeded",
            "kind": "failed",
            "by_mgrs": "upstream_failed",
            "by_name": "upstream_failed",
            "region": "failed",
        }
        assert await app.coordinator(RoutingCoordinator).decisions(run.run_id) == []
        ((_, facts),) = heard.of("route.error")
        assert "no such grid" in str(facts["error"])
        assert heard.of("route.stop") == []

    @pytest.mark.conformance(313)
    async def test_a_fallback_branch_is_selected_and_says_why(self, app_of: AppOf) -> None:
        world = Regions(failures=[ValueError("no such grid\0")])
        app = await app_of(regions(world, on_error="name"))
        heard = Heard(app)

        assert await app.run("region") == "place of mgrs"

        decision = await app.get("kind")
        assert isinstance(decision, Decision)
        assert (decision.selected_branch, decision.rule) == ("name", Rule.FALLBACK)
        assert decision.error == "ValueError: no such grid\\x00"
        assert heard.names.count("route.error") == heard.names.count("route.stop") == 1

    async def test_with_retries_the_fallback_comes_after_the_last_attempt(
        self, app_of: AppOf
    ) -> None:
        world = Regions(failures=[ValueError("once"), ValueError("twice")])
        app = await app_of(regions(world, on_error="name", retry=Retry(3, base=0, jitter=False)))

        assert await app.run("region") == "square of mgrs"

        world = Regions(failures=[ValueError("once"), ValueError("twice")])
        app = await app_of(regions(world, on_error="name", retry=Retry(2, base=0, jitter=False)))

        assert await app.run("region", force=True) == "square of mgrs"
        assert await app.run(["kind", "region"], force=True) == [
            await app.get("kind"),
            "place of mgrs",
        ]

    async def test_an_answer_that_is_neither_true_nor_false_is_a_failure(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(regions(Regions(), is_mgrs=lambda _: 1))

        with pytest.raises(RunFailedError) as caught:
            await app.run("kind")

        assert isinstance(caught.value.__cause__, InvalidPredicateError)
        assert "looks_like_mgrs returned 1, which is neither True nor False" in str(
            caught.value.__cause__
        )

    async def test_which_a_fallback_covers(self, app_of: AppOf) -> None:
        app = await app_of(regions(Regions(), is_mgrs=lambda _: None, on_error="name"))

        assert await app.run("region") == "place of mgrs"

    async def test_what_fails_around_the_function_is_no_reason_for_a_fallback(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")

        @p.asset
        def text() -> str:
            return "no number"

        @p.asset
        @route(choice("a", when=lambda n: n > 1), default="b", on_error="b")
        def router(number: int = Dep("text", type=int)) -> int:
            return number

        @p.asset
        @routed_from(router, "a")
        def a() -> None: ...

        @p.asset
        @routed_from(router, "b")
        def b() -> None: ...

        app = await app_of(p)

        with pytest.raises(RunFailedError, match="router"):
            await app.run(["a", "b"])


class TestWhereBranchesMeet:
    def made(self, branch: Callable[[], str | Skip | Cancel]) -> Pipeline:
        p = Pipeline("p")

        @p.asset
        @route
        def router() -> Literal["a", "b"]:
            return "a"

        a = p.asset(name="a")(routed_from(router, "a")(branch))

        @p.asset
        @routed_from(router, "b")
        def b() -> str:
            return "b"

        @p.asset
        def met(found: str = FirstOf(a, b)) -> str:
            return found

        return p

    @pytest.mark.parametrize(
        ("outcome", "expected"), [("fail", "failed"), ("cancel", "cancelled"), ("skip", "skipped")]
    )
    async def test_it_goes_as_with_the_branch_that_was_selected(
        self, app_of: AppOf, outcome: str, expected: str
    ) -> None:
        def branch() -> str | Skip | Cancel:
            if outcome == "fail":
                raise ValueError("no square")
            return Skip("no square") if outcome == "skip" else Cancel("no square")

        app = await app_of(self.made(branch))
        handle = await app.enqueue("met")

        await drain(app)

        stood = await steps(app, handle.run_id)
        assert (stood["a"].status, stood["b"].status) == (expected, "skipped")
        assert stood["met"].status == expected
        said = {"failed": "Dependency failed: p.a"}.get(expected, "none of p.a, p.b has a value")
        assert said in (stood["met"].error or "")

    async def test_so_it_does_in_a_child_process(self, app_of: AppOf) -> None:
        app = await app_of(in_a_child)
        handle = await app.enqueue_many(["met", "broken_met"])

        await drain(app)

        stood = await statuses(app, handle.run_id)
        assert (stood["met"], stood["broken_met"]) == ("succeeded", "failed")
        assert await app.get("met") == "a"


in_a_child = Pipeline("in_a_child")


@in_a_child.asset
@route
def router() -> Literal["a", "b", "broken"]:
    return "a"


@in_a_child.asset
@routed_from(router, "a")
def a() -> str:
    return "a"


@in_a_child.asset
@routed_from(router, "b")
def b() -> str:
    return "b"


@in_a_child.asset
@routed_from(router, "a")
def broken() -> str:
    raise ValueError("broken")


@in_a_child.asset
@routed_from(router, "broken")
def never() -> str:
    return "never"


@in_a_child.asset(executor="process")
def met(found: str = FirstOf(b, a)) -> str:
    return found


@in_a_child.asset(executor="process")
def broken_met(found: str = FirstOf(b, broken)) -> str:
    return found


@pytest.mark.conformance(314)
async def test_a_branch_runs_after_its_router_and_not_without_it(app_of: AppOf) -> None:
    app = await app_of(regions(Regions()))

    decisions = await app.plan("by_mgrs")

    assert [it.key.asset for it in decisions] == ["sales.query", "sales.kind", "sales.by_mgrs"]


@pytest.mark.conformance(316)
async def test_deciding_is_told_with_what_was_decided(app_of: AppOf) -> None:
    app = await app_of(regions(Regions()))
    heard = Heard(app, ["route.start", "route.stop", "route.error"])

    await app.run("region")

    assert heard.names == ["route.start", "route.stop"]
    run = await newest_run(app)
    (_, started), (numbers, stopped) = heard.of("route.start", "route.stop")
    assert started == {"router": "sales.kind", "run_id": run.run_id, "partition": ""}
    assert numbers["duration"] >= 0
    assert stopped == {
        **started,
        "decision_id": (await steps(app, run.run_id))["kind"].id,
        "selected_branch": "mgrs",
        "rule": "choice",
        "predicate": "looks_like_mgrs",
    }
