"""
Whatever happens to its pumps, a scatter ends, with what its items came to.

Several applications share a store, so each has a pump of its own. A seed decides what the items do,
which limits there are, and when workers stop, queues pause and limits change.
``SCATTER_SEEDS=50`` tries so many.
"""

import asyncio
import os
import random
from collections import Counter
from datetime import timedelta

import pytest

from flowstone import FlowStone, Pipeline, Retry
from flowstone.core.errors import FlowStoneError
from flowstone.core.status import RunStatus
from flowstone.core.worker_options import WorkerOptions
from flowstone.plugins.scatter import Scattered, scatter
from flowstone.plugins.scatter.operations import ScatterChange, ScatterOperations
from tests.application.stage import Stage, eventually

SEEDS = range(int(os.environ.get("SCATTER_SEEDS", "3")))
PUMPS = 3
AT_MOST = 3


class Story:
    """What a seed decides."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.items = self.chance.choice([1, 7, 40, 150])
        self.trouble = self.chance.choice([0.0, 0.1, 0.5])
        self.limit = self.chance.choice([None, 1, 3, 20])
        self.rate = self.chance.choice([None, None, "400/s"])
        self.calls: Counter[int] = Counter()
        # What item does at which attempt; the last one may fail for good.
        self.fates = [[self._fate() for _ in range(AT_MOST)] for _ in range(self.items)]

    def _fate(self) -> str:
        if self.chance.random() >= self.trouble:
            return self.chance.choice(["at once", "soon", "late"])
        return self.chance.choice(["raises", "cancelled", "overdue", "deaf"])

    async def body(self, number: int) -> int:
        attempt, self.calls[number] = self.calls[number], self.calls[number] + 1
        match self.fates[number][min(attempt, AT_MOST - 1)]:
            case "soon":
                await asyncio.sleep(0.001)
            case "late":
                await asyncio.sleep(self.chance.random() / 10)
            case "raises":
                raise ValueError(number)
            case "cancelled":
                raise asyncio.CancelledError
            case "overdue":
                await asyncio.sleep(60)
            case "deaf":
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    await asyncio.sleep(0.01)
        return number


class Course:
    """Workers of several applications, and what befalls them."""

    def __init__(self, story: Story, apps: list[FlowStone]) -> None:
        self.story, self.apps = story, apps
        self._working: dict[int, tuple[object, asyncio.Task[None]]] = {}

    async def befall(self) -> None:
        chance = self.story.chance
        match chance.choice(["stop", "start", "start", "limit", "pause", "nothing", "nothing"]):
            case "stop" if self._working:
                await self.stop(chance.choice([*self._working]))
            case "start":
                self.start(chance.randrange(PUMPS))
            case "limit":
                await self._change(ScatterChange(max_concurrent=chance.choice([None, 1, 5])))
            case "pause":
                await self.apps[0].queues.pause("default")
                await asyncio.sleep(chance.random() / 20)
                await self.apps[0].queues.resume("default")
        await asyncio.sleep(chance.random() / 10)

    async def _change(self, change: ScatterChange) -> None:
        operations = self.apps[0].coordinator(ScatterOperations)
        for it in await operations.scatters(limit=1):
            try:
                await operations.change(it.materialization_id, change)
            except FlowStoneError:
                return  # it has ended

    def start(self, place: int) -> None:
        if place not in self._working:
            options = WorkerOptions(
                {"default": 4},
                shutdown_timeout=timedelta(seconds=0.1),
                poll_interval=timedelta(seconds=0.2),
            )
            worker = self.apps[place].worker(options)
            self._working[place] = worker, asyncio.create_task(worker.run())

    async def stop(self, place: int) -> None:
        worker, task = self._working.pop(place)
        worker.stop()  # type: ignore[attr-defined]
        await asyncio.wait_for(task, 60)

    async def stop_all(self) -> None:
        for place in list(self._working):
            await self.stop(place)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_scatter_ends_whatever_happens_to_its_pumps(stage: Stage, seed: int) -> None:
    story = Story(seed)
    sales = Pipeline("sales")

    @sales.asset
    @scatter(
        list(range(story.items)),
        batch_size=story.chance.choice([5, 1000]),
        max_concurrent=story.limit,
        rate_limit=story.rate,
        failure_mode="partial",
        failure_threshold=1.0,
        retry_strategy=Retry(AT_MOST, base=story.chance.choice(["0s", "50ms"]), jitter=False),
        timeout="200ms",
    )
    async def each(number: int) -> int:
        return await story.body(number)

    course = Course(story, [await stage.app(sales) for _ in range(PUMPS)])
    handle = await course.apps[0].enqueue(each)
    try:
        for _ in range(12):
            await course.befall()
        for place in range(PUMPS):
            course.start(place)
        await eventually(lambda: _has_ended(handle), within=150)
    finally:
        await course.stop_all()

    found = await handle.result(timeout=60)
    assert isinstance(found, Scattered)
    assert (found.total, found.completed + found.failed) == (story.items, story.items)
    assert all(story.calls[it] for it in range(story.items))


async def _has_ended(handle: object) -> bool:
    record = await handle.status()  # type: ignore[attr-defined]
    return bool(record.status is not RunStatus.RUNNING)
