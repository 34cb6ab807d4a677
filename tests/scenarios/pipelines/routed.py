"""
A router that decides by what the world looks like, and a world that turns.

It opens nothing by itself: the router waits at the gate ``decide``, and goes right once the gate
``turned`` is open.
"""

from typing import Literal

from flowstone import Context, Dep, Pipeline
from flowstone.plugins.routing import Decision, FirstOf, route, routed_from
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.made import begin

routed = Pipeline("routed")


@routed.asset
@route
async def way(ctx: Context) -> Literal["left", "right"]:
    begin(ctx)
    ledger = Ledger.of_this_process()
    await ledger.pass_gate("decide")
    return "right" if ledger.is_open("turned") else "left"


@routed.asset
@routed_from(way, "left")
async def left(ctx: Context) -> str:
    begin(ctx)
    return "left"


@routed.asset
@routed_from(way, "right")
async def right(ctx: Context) -> str:
    begin(ctx)
    return "right"


@routed.asset
async def arrived(way: Decision = Dep(way), found: str = FirstOf(left, right)) -> list[str | None]:
    return [way.selected_branch, found]
