"""Forty assets with random edges; half of the bodies await, the others run in threads."""

import asyncio
import random
import time

from flowstone import Context, Dep, Pipeline
from flowstone.core.asset import Asset
from tests.scenarios.pipelines.made import Made, begin, made

ASSETS = 40
PARTITIONS = ["a", "b", "c", "d", "e"]

random_dag = Pipeline("random_dag")
chance = random.Random(352)


def add(number: int, before: list[Asset[..., Made]]) -> Asset[..., Made]:
    """Add one asset, made from at most two of those before it and following two more."""
    inputs = chance.sample(before, min(len(before), chance.randint(0, 2)))
    others = [asset for asset in before if asset not in inputs]
    after = chance.sample(others, min(len(others), chance.randint(0, 2)))
    seconds = chance.uniform(0.02, 0.12)
    decorate = random_dag.asset(name=f"n{number:02}", after=after)
    in_thread = number % 2 == 0

    if len(inputs) == 2:
        first, second = inputs

        async def joined(ctx: Context, a: Made = Dep(first), b: Made = Dep(second)) -> Made:
            start = begin(ctx)
            await asyncio.sleep(seconds)
            return made(start, a, b)

        def joined_in_thread(ctx: Context, a: Made = Dep(first), b: Made = Dep(second)) -> Made:
            start = begin(ctx)
            time.sleep(seconds)
            return made(start, a, b)

        return decorate(joined_in_thread) if in_thread else decorate(joined)

    if len(inputs) == 1:
        (only,) = inputs

        async def derived(ctx: Context, a: Made = Dep(only)) -> Made:
            start = begin(ctx)
            await asyncio.sleep(seconds)
            return made(start, a)

        def derived_in_thread(ctx: Context, a: Made = Dep(only)) -> Made:
            start = begin(ctx)
            time.sleep(seconds)
            return made(start, a)

        return decorate(derived_in_thread) if in_thread else decorate(derived)

    async def root(ctx: Context) -> Made:
        start = begin(ctx)
        await asyncio.sleep(seconds)
        return made(start)

    def root_in_thread(ctx: Context) -> Made:
        start = begin(ctx)
        time.sleep(seconds)
        return made(start)

    return decorate(root_in_thread) if in_thread else decorate(root)


assets: list[Asset[..., Made]] = []
for number in range(ASSETS):
    assets.append(add(number, assets))
