"""A decision is made once in a run; a later run reuses it with the router's value."""

from typing import Any

import pytest

from flowstone import Context, FlowStone, Pipeline, Retry
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

        app = await app_of(p)
        handle = await app.enqueue_many([said], over=[1, 2, 3])
        await drain(app)

        assert (await handle.status()).status == "succeeded"
        assert [await app.get(said, partition=it) for it in (1, 2, 3)] == ["odd", "even", "odd"]
        assert [it.selected_branch for it in await decisions(app)] == ["odd", "even", "odd"]


class TestPlan:
    async def test_a_router_that_is_fresh_is_reused_with_its_decision(self, app_of: AppOf) -> None:
        world = Regions("mgrs")
        app = await app_of(regions(world))
        await app.run("region")
        (decision,) = await decisions(app)
        world.called.clear()

        planned = {it.key.asset: it.action for it in await app.plan("region")}
        assert await app.run("region") == "square of mgrs"

        assert await decisions(app) == []
        assert await app.get("kind") == decision
        run = await newest_run(app)
        ran = {f"sales.{name}" for name in await statuses(app, run.run_id)}
        assert {name for name, action in planned.items() if action == "run"} == ran
        assert not {"query", "kind", "is_mgrs", "by_mgrs"} & set(world.called)
