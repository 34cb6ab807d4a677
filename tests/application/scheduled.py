"""Pipelines with schedules, and ticks that a test brings about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flowstone import FlowStone, Pipeline
from flowstone.core.scheduling import enqueue_due
from tests.application.stage import eventually, working

FAR = f"30 {(datetime.now(UTC) + timedelta(hours=12)).hour} * * *"
"""Daily, and not within the hour."""


def shop_with(*schedules: str, cron: str = FAR, **options: Any) -> tuple[Pipeline, list[str]]:
    """Return a pipeline with a job, and what it was called with; schedules pass their names."""
    shop = Pipeline("shop")
    seen: list[str] = []

    @shop.job
    async def greet(name: str = "nobody") -> None:
        seen.append(name)

    for name in schedules:
        shop.schedule(name, cron, greet.with_(name), **options)
    return shop, seen


def other(name: str) -> Pipeline:
    pipeline = Pipeline(name)

    @pipeline.job
    async def work() -> None: ...

    pipeline.schedule("often", FAR, work.with_())
    return pipeline


async def names(app: FlowStone) -> list[str]:
    return [it.name for it in await app.schedules.list()]


async def synchronized(app: FlowStone, *expected: str) -> None:
    """Let a worker start; it keeps the rows as its code has them."""
    async with working(app):
        await eventually(lambda: has(app, *expected))


async def has(app: FlowStone, *expected: str) -> bool:
    return await names(app) == sorted(expected)


async def tick(app: FlowStone) -> None:
    """Enqueue everything that is due."""
    while await enqueue_due(app, app._schedule_rows) == 0.0:
        pass
