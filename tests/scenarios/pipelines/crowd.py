"""Gates and approvals of which many do the same at once; what goes on is written down."""

from flowstone import Context, Dep, Pipeline
from flowstone.plugins.checkpoints import NeedsApproval, approval
from flowstone.plugins.signal_gate import Wait, signal_gate
from tests.scenarios.pipelines.gates import note

crowd = Pipeline("crowd")


async def on_signal(ctx: Context[str], payload: str) -> str:
    note("went-on", ctx)
    return payload


async def on_timeout(ctx: Context[str]) -> str:
    note("went-on", ctx)
    return "late"


@crowd.asset
@signal_gate(on_signal=on_signal, on_timeout=on_timeout, timeout="1h")
async def gate(ctx: Context[str]) -> Wait:
    note("begun", ctx)
    return Wait(ctx.partition)


@crowd.asset
@approval(timeout="1h", on_timeout="approve")
async def trade(ctx: Context[str]) -> NeedsApproval[str]:
    note("begun", ctx)
    return NeedsApproval("held")


@crowd.asset
async def booked(ctx: Context[str], trade: str = Dep(trade)) -> str:
    note("went-on", ctx)
    return trade
