"""Parallel assets whose branches end in many processes, and whose workers die."""

import asyncio
import random
from collections.abc import Callable

from flowstone import Context, Dep, Pipeline
from flowstone.plugins.parallel import Branch, Ok, Outcome, parallel
from tests.scenarios.pipelines.gates import note

branches = Pipeline("branches")

TIMEOUT = 0.15
"""Seconds; about as long as the branches take that race with it."""


def nothing() -> None: ...


on_join: Callable[[], None] = nothing
"""What a worker that is to die in the join puts in."""


@branches.asset
async def source(ctx: Context[str]) -> int:
    return 1


@branches.asset
async def left(ctx: Context[str], source: int = Dep(source)) -> str:
    note("left", ctx)
    return f"left {ctx.partition}"


@branches.asset
async def right(ctx: Context[str], source: int = Dep(source)) -> str:
    return f"right {ctx.partition}"


@branches.asset
@parallel()
async def joined(
    ctx: Context[str], left: str = Branch(left), right: str = Branch(right)
) -> list[str]:
    note("joined", ctx)
    on_join()
    return [left, right]


@branches.asset
async def quick(ctx: Context[str]) -> str:
    await asyncio.sleep(random.uniform(0, 2 * TIMEOUT))
    return f"quick {ctx.partition}"


@branches.asset
@parallel(failure_mode="partial")
async def raced(
    ctx: Context[str], quick: Outcome[str] = Branch(quick, required=False, timeout=TIMEOUT)
) -> str:
    note("raced", ctx)
    return quick.value if isinstance(quick, Ok) else "late"


@branches.asset
async def after(raced: str = Dep(raced)) -> str:
    return raced
