"""Trades that wait for somebody's word; those of the second desk do not wait for long."""

from flowstone import Context, Dep, Pipeline
from flowstone.plugins.checkpoints import NeedsApproval, approval
from tests.scenarios.pipelines.made import begin

approving = Pipeline("approving")

SHORT_SECONDS = 2.0


@approving.asset
@approval()
async def trade(ctx: Context[str]) -> NeedsApproval[str]:
    begin(ctx)
    return NeedsApproval(f"held {ctx.partition}", "each one")


@approving.asset
async def booked(ctx: Context[str], trade: str = Dep(trade)) -> str:
    begin(ctx)
    return f"booked {trade}"


@approving.asset
@approval(timeout=SHORT_SECONDS)
async def urgent(ctx: Context[str]) -> NeedsApproval[str]:
    begin(ctx)
    return NeedsApproval(f"held {ctx.partition}", "soon")


@approving.asset
async def urgently_booked(ctx: Context[str], trade: str = Dep(urgent)) -> str:
    begin(ctx)
    return f"booked {trade}"
