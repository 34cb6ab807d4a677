"""Many alike, one slice each, and what is made of one slice."""

from flowstone import Context, Dep, Pipeline
from tests.scenarios.pipelines.made import Made, begin, made

batch = Pipeline("batch")


@batch.asset
async def item(ctx: Context[str]) -> dict[str, str]:
    begin(ctx)
    return {"slice": ctx.partition}


@batch.asset
async def made_of_it(ctx: Context[str], base: dict[str, str] = Dep(item)) -> Made:
    return made(begin(ctx))
