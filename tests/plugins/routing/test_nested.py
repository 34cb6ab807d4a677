"""Routers behind routers, and an asset that several routers decide about."""

from typing import Literal

import pytest

from flowstone import Dep, Pipeline, Snooze
from flowstone.plugins.routing import Decision, FirstOf, RoutingCoordinator, route, routed_from
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, newest_run, statuses


def nested(outer: list[str], inner: list[str]) -> Pipeline:
    """Return ``land | sea``, and on land ``road | rail``."""
    p = Pipeline("p")

    @p.asset
    @route
    def medium() -> Literal["land", "sea"]:
        return outer[0]  # type: ignore[return-value]  # one of them

    @p.asset
    @routed_from(medium, "land")
    @route
    def way() -> Literal["road", "rail"]:
        return inner[0]  # type: ignore[return-value]  # one of them

    @p.asset
    @routed_from(way, "road")
    def road() -> str:
        return "road"

    @p.asset
    @routed_from(way, "rail")
    def rail() -> str:
        return "rail"

    @p.asset
    @routed_from(medium, "sea")
    def sea() -> str:
        return "sea"

    @p.asset
    def travelled(by: str = FirstOf(road, rail, sea)) -> str:
        return by

    return p


class TestARouterBehindARouter:
    @pytest.mark.parametrize(
        ("outer", "inner", "skipped"),
        [
            ("land", "road", {"rail", "sea"}),
            ("land", "rail", {"road", "sea"}),
            ("sea", "rail", {"way", "road", "rail"}),
        ],
    )
    async def test_decides_only_where_it_is_reached(
        self, app_of: AppOf, outer: str, inner: str, skipped: set[str]
    ) -> None:
        app = await app_of(nested([outer], [inner]))

        assert await app.run("travelled") == (inner if outer == "land" else outer)

        run = await newest_run(app)
        stood = await statuses(app, run.run_id)
        assert {name for name, status in stood.items() if status == "skipped"} == skipped
        decided = await app.coordinator(RoutingCoordinator).decisions(run.run_id)
        expected = [outer, inner] if outer == "land" else [outer]
        assert [it.selected_branch for it in decided] == expected

    async def test_is_left_out_with_its_branches_when_nothing_has_changed(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(nested(["sea"], ["road"]))
        await app.run("travelled")

        actions = {it.key.asset: it.action.value for it in await app.plan("travelled")}

        assert actions == {
            "p.medium": "reuse",
            "p.way": "skip",
            "p.road": "skip",
            "p.rail": "skip",
            "p.sea": "reuse",
            "p.travelled": "reuse",
        }


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("a", "x", "succeeded"), ("a", "y", "skipped"), ("b", "x", "skipped")],
)
async def test_several_routers_all_have_to_select_an_asset(
    app_of: AppOf, first: str, second: str, expected: str
) -> None:
    p = Pipeline("p")

    @p.asset
    @route
    def one() -> Literal["a", "b"]:
        return first  # type: ignore[return-value]  # one of them

    @p.asset
    @route
    def two() -> Literal["x", "y"]:
        return second  # type: ignore[return-value]  # one of them

    for name, router, branch in (("b", one, "b"), ("y", two, "y")):
        p.asset(name=name)(routed_from(router, branch)(lambda: None))

    @p.asset
    @routed_from(one, "a")
    @routed_from(two, "x")
    def both() -> str:
        return "both"

    app = await app_of(p)
    handle = await app.enqueue(both)
    await drain(app)

    assert (await statuses(app, handle.run_id))["both"] == expected
    again = {it.key.asset: it.action.value for it in await app.plan([both, "b", "y"])}
    assert again["p.both"] == ("reuse" if expected == "succeeded" else "skip")


async def test_a_router_that_is_renamed_in_the_middle_of_a_run_has_decided(stage: Stage) -> None:
    def renamed(name: str, aliases: list[str], answers: list[object]) -> Pipeline:
        p = Pipeline("p")

        def decide() -> Literal["a", "b"]:
            return answers.pop(0)  # type: ignore[return-value]  # what a test wants

        router = p.asset(name=name, aliases=aliases)(route(decide))
        p.asset(name="a")(routed_from(router, "a")(lambda: "a"))
        p.asset(name="b")(routed_from(router, "b")(lambda: "b"))

        @p.asset
        def seen(decision: Decision = Dep(router)) -> str | None:
            return decision.selected_branch

        return p

    before = await stage.app(renamed("old", [], [Snooze("1m")]))
    handle = await before.enqueue_many(["seen", "a", "b"])
    await drain(before)
    after = await stage.app(renamed("new", ["p.old"], ["b"]))
    await stage.advance("2m")
    await drain(after)

    assert (await handle.status()).status == "succeeded"
    assert await statuses(after, handle.run_id) == {
        "old": "succeeded",
        "a": "skipped",
        "b": "succeeded",
        "seen": "succeeded",
    }
    (decision,) = await after.coordinator(RoutingCoordinator).decisions(handle.run_id)
    assert (decision.router, decision.selected_branch) == ("p.new", "b")
