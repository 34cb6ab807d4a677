"""Scatters whose items fail, by chance or for good, under the limits that a scatter may have."""

import asyncio
import random

from flowstone import Context, Pipeline, Retry
from flowstone.plugins.scatter import Batch, Results, batch, scatter
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import RETRY, Body, MishapError

ITEMS_QUEUE = "items"
ITEM_RETRY = Retry(9, base="0.1s", cap="0.5s")
"""Of items that fail by chance: one in five attempts, so that none fails for good by it."""

DOOMED_EVERY = 50
MOST_AT_ONCE = 12
RATE = 40
WIDE, PACED, STRICT, TOGETHER = (
    "scattered.wide",
    "scattered.paced",
    "scattered.strict",
    "scattered.together",
)
SIZES = {WIDE: 300, PACED: 60, STRICT: 40, TOGETHER: 60}
ENDS = {STRICT: "failed"}


def scatters(audit: Audit) -> Pipeline:
    """Return the pipeline ``scattered``."""
    pipeline = Pipeline("scattered")
    gathering = Body("plain", audit, 0.01)

    async def counted(results: Results[object, str], ctx: Context) -> Made:
        tokens = [it.value async for it in results]
        payload = {
            "values": len(tokens),
            "distinct": len(set(tokens)),
            "failed": results.failed_count,
        }
        made = gathering.begin(ctx, [], payload)
        gathering.end(made, "value")
        return made

    @pipeline.asset(queue=ITEMS_QUEUE, retry=RETRY)
    @scatter(
        range(SIZES[WIDE]),
        gather=counted,
        max_concurrent=MOST_AT_ONCE,
        failure_mode="partial",
        failure_threshold=0.1,
        batch_size=100,
        retry_strategy=ITEM_RETRY,
    )
    async def wide(item: int, ctx: Context) -> str:
        """One in fifty fails for good."""
        with audit.item(ctx.materialization_id, item) as token:
            await asyncio.sleep(0.01)
            if item % DOOMED_EVERY == DOOMED_EVERY - 1 or random.random() < 0.2:
                raise MishapError("on purpose")
        return token

    @pipeline.asset(queue=ITEMS_QUEUE, retry=RETRY)
    @scatter(
        range(SIZES[PACED]),
        gather=counted,
        rate_limit=f"{RATE}/s",
        failure_mode="partial",
        failure_threshold=0.2,
    )
    async def paced(item: int, ctx: Context) -> str:
        with audit.item(ctx.materialization_id, item) as token:
            await asyncio.sleep(0.02)
        return token

    @pipeline.asset(queue=ITEMS_QUEUE, retry=RETRY)
    @scatter(range(SIZES[STRICT]), gather=counted, retry_strategy=Retry(2, base="0.1s"))
    def strict(item: int, ctx: Context) -> str:
        """All or nothing: the last item fails, and all with it."""
        with audit.item(ctx.materialization_id, item) as token:
            if item == SIZES[STRICT] - 1:
                raise MishapError("on purpose")
        return token

    @pipeline.asset(queue=ITEMS_QUEUE, retry=RETRY)
    @scatter(
        range(SIZES[TOGETHER]),
        gather=counted,
        retry_strategy=ITEM_RETRY,
        failure_mode="partial",
        failure_threshold=0.2,
    )
    @batch(max_items=7)
    async def together(items: Batch[int, None], ctx: Context) -> str:
        with audit.item(ctx.materialization_id, min(items)) as token:
            await asyncio.sleep(0.02)
            if random.random() < 0.2:
                raise MishapError("on purpose")
        return token

    return pipeline
