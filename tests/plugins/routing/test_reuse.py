"""A decision is made once in a run; a later run reuses it with the router's value."""

from typing import Any

import pytest

from flowstone import Context, Dep, FlowStone, Pipeline, Retry
from flowstone.core.partition import encode
from flowstone.plugins.routing import (
    Decision,
    FirstOf,
    RoutingCoordinator,
    choice,
    route,
    routed_from,
)
from tests.application.conftest import AppOf
from tests.application.stage import drain, newest_run, statuses
from tests.plugins.routing.regions import Regions, regions


async def decisions(app: FlowStone) -> list[Decision]:
    run = await newest_run(app)
    return [*await app.coordinator(RoutingCoordinator).decisions(run.run_id)]


def parities() -> Pipeline:
    p = Pipeline("p")

    def is_even(number: int) -> bool:
        return number % 2 == 0

    @p.asset
    @route(choice("even", when=is_even), default="odd")
    def parity(ctx: Context[int]) -> int:
        return ctx.partition

    @p.asset
    @routed_from(parity, "even")
    def even() -> str:
        return "even"

    @p.asset
    @routed_from(parity, "odd")
    def odd() -> str:
        return "odd"

    @p.asset
    def said(found: str = FirstOf(even, odd)) -> str:
        return found

    return p


class TestOnce:
    @pytest.mark.conformance(304)
    async def test_an_attempt_after_the_decision_does_not_decide_anew(self, app_of: AppOf) -> None:
        """The router fails between its decision and its settlement; meanwhile the world changed."""
        world = Regions("mgrs")
        app = await app_of(regions(world, retry=Retry(2, base=0, jitter=False)))
        routing = app.coordinator(RoutingCoordinator)
        record, made = routing.record, []

        async def recorded_and_lost(*given: Any, **named: Any) -> Decision:
            made.append(await record(*given, **named))
            world.query = "name"
            raise ConnectionError("the reply was lost")

        routing.record = recorded_and_lost  # type: ignore[method-assign]

        assert await app.run("region") == "square of mgrs"

        assert await decisions(app) == made
        assert await app.get("kind") == made[0]
        assert world.called.count("kind") == world.called.count("is_mgrs") == 1

    @pytest.mark.conformance(315)
    async def test_another_run_decides_for_itself(self, app_of: AppOf) -> None:
        world = Regions("mgrs")
        app = await app_of(regions(world))
        await app.run("region")
        (first,) = await decisions(app)
        world.query = "name"
        await app.invalidate("query")

        assert await app.run("region") == "place of name"

        (second,) = await decisions(app)
        assert (first.selected_branch, second.selected_branch) == ("mgrs", "name")
        routing = app.coordinator(RoutingCoordinator)
        assert await routing.to_output(first.decision_id) == first

    async def test_each_partition_has_its_own(self, app_of: AppOf) -> None:
        app = await app_of(parities())
        handle = await app.enqueue_many(["said"], over=[1, 2, 3])
        await drain(app)

        assert (await handle.status()).status == "succeeded"
        assert [await app.get("said", partition=it) for it in (1, 2, 3)] == ["odd", "even", "odd"]
        assert [it.selected_branch for it in await decisions(app)] == ["odd", "even", "odd"]


class TestPlan:
    """What is known to be skipped is left out of a run, and with it nothing needs to run again."""

    async def actions(self, app: FlowStone, *targets: str, **options: Any) -> dict[str, str]:
        """Return what the plan says, having seen that a run does just that."""
        planned = await app.plan([*targets], **options)
        handle = await app.enqueue_many([*targets], **options)
        await drain(app)
        ran = set(await statuses(app, handle.run_id))
        reused = {it.key.asset.split(".")[1] for it in await app.store.reused(handle.run_id)}
        said = {it.key.asset.split(".")[1]: it.action.value for it in planned}
        assert {name for name, action in said.items() if action == "run"} == ran
        assert {name for name, action in said.items() if action == "reuse"} == reused
        return said

    async def test_a_second_run_reuses_the_decision_and_calls_nothing(self, app_of: AppOf) -> None:
        world = Regions("mgrs")
        app = await app_of(regions(world))
        await app.run("region")
        (decision,) = await decisions(app)
        world.called.clear()

        assert await self.actions(app, "region") == {
            "query": "reuse",
            "kind": "reuse",
            "by_mgrs": "reuse",
            "by_name": "skip",
            "region": "reuse",
        }
        assert await app.run("region") == "square of mgrs"

        assert world.called == []
        assert await decisions(app) == []
        assert await app.get("kind") == decision
        (skipped,) = [it for it in await app.plan("region") if it.action == "skip"]
        assert skipped.reason == "not selected: sales.kind selected mgrs (looks_like_mgrs)"

    async def test_a_value_from_when_a_branch_was_selected_is_not_taken(
        self, app_of: AppOf
    ) -> None:
        world = Regions("mgrs")
        app = await app_of(regions(world))
        await app.run("region")
        world.query = "name"
        await app.run("query", force=True)  # which, unlike invalidating, leaves the old value alone
        assert await app.run("region") == "place of name"
        world.called.clear()

        reused = await self.actions(app, "region")
        forced = await self.actions(app, "region", force=True)

        assert reused["by_mgrs"] == forced["by_mgrs"] == "skip"
        assert (reused["region"], forced["region"]) == ("reuse", "run")
        assert world.called == ["region"]
        assert await app.get("region") == "place of name"

    async def test_so_it_is_where_the_branch_itself_is_asked_for(self, app_of: AppOf) -> None:
        world = Regions("mgrs")
        p = regions(world)
        app = await app_of(p)
        everything = [it.name for it in p.assets]
        await app.run(everything)
        world.called.clear()

        assert (await self.actions(app, "by_name"))["by_name"] == "skip"
        assert await app.run("by_name") is None
        assert set((await self.actions(app, *everything)).values()) == {"reuse", "skip"}
        assert await app.run(everything) == [
            *("mgrs", await app.get("kind"), "square of mgrs", None, "square of mgrs")
        ]
        assert world.called == []

    async def test_it_is_tried_when_that_is_forced(self, app_of: AppOf) -> None:
        app = await app_of(regions(Regions("mgrs")))
        await app.run("region")

        assert (await self.actions(app, "by_name", force=True))["by_name"] == "run"
        run = await newest_run(app)
        assert await statuses(app, run.run_id) == {"by_name": "skipped"}

    async def test_a_router_that_runs_again_is_not_foreseen(self, app_of: AppOf) -> None:
        world = Regions("mgrs")
        app = await app_of(regions(world))
        await app.run("region")
        await app.invalidate("kind")
        world.query = "name"  # of which the query, which is reused, does not know

        said = await self.actions(app, "region")

        assert (said["kind"], said["by_name"], said["region"]) == ("run", "run", "run")

    async def test_what_needs_a_branch_is_left_out_with_it(self, app_of: AppOf) -> None:
        world = Regions("mgrs")
        p = regions(world)

        @p.asset
        def map_of_place(place: str = Dep("by_name", type=str)) -> str:
            world.note("map_of_place")
            return f"map of {place}"

        @p.asset
        def atlas(
            region: str = Dep("region", type=str),
            map_of_place: str | None = Dep(map_of_place, optional=True),
        ) -> list[str | None]:
            return [region, map_of_place]

        app = await app_of(p)
        assert await app.run(atlas) == ["square of mgrs", None]

        assert await self.actions(app, "atlas") == {
            "query": "reuse",
            "kind": "reuse",
            "by_mgrs": "reuse",
            "by_name": "skip",
            "region": "reuse",
            "map_of_place": "skip",
            "atlas": "reuse",
        }
        said = await self.actions(app, "map_of_place", force=True)
        assert (said["by_name"], said["map_of_place"]) == ("run", "run")

    async def test_each_partition_for_itself(self, app_of: AppOf) -> None:
        app = await app_of(parities())
        await app.run("said", partition=1)
        handle = await app.enqueue_many(["said"], over=[1, 2])

        await drain(app)

        steps = await app.store.materializations(handle.run_id)
        assert {it.key.partition for it in steps} == {encode(2)}
        assert [await app.get("said", partition=it) for it in (1, 2)] == ["odd", "even"]
