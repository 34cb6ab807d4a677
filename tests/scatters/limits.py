"""How much of what a limit allows was used over several processes, and whether it was exceeded."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from flowstone import FlowStone
from flowstone.engine.dsn import for_asyncpg
from tests.scatters.audit import lines
from tests.scenarios.consistency import until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.scattered import LIMIT, RATE, scattered
from tests.scenarios.spawned import Spawner

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Use:
    """
    What became of a limit.

    Attributes:
        most: The most at any time: that ran at once, or that began within a second.
        allowed: How much may be.
        used: The share of what was allowed, from the first start to the last.
    """

    name: str
    most: int
    allowed: int
    used: float

    def holds(self, share: float) -> bool:
        """Return whether it was never exceeded, and used to so large a share."""
        return self.most <= self.allowed and self.used >= share

    def __str__(self) -> str:
        return f"{self.name}: at most {self.most} of {self.allowed}, {self.used:.1%} of it used"


def at_once(spans: Sequence[tuple[int, int]], allowed: int) -> Use:
    """Return the use of a limit on how many run at the same time."""
    most, running = 0, []
    for began, ended in sorted(spans):
        while running and running[0] <= began:
            heapq.heappop(running)
        heapq.heappush(running, ended)
        most = max(most, len(running))
    first, last = min(spans)[0], max(spans)[0]
    spent = sum(min(ended, last) - began for began, ended in spans)
    return Use("max_concurrent", most, allowed, spent / (last - first) / allowed)


def within_a_second(starts: Sequence[int], allowed: int) -> Use:
    """Return the use of a limit on how many start in any second."""
    starts = sorted(starts)
    most, first = 0, 0
    for at, start in enumerate(starts):
        while starts[first] <= start - SECOND:
            first += 1
        most = max(most, at - first + 1)
    seconds = (starts[-1] - starts[0]) / SECOND
    return Use("rate_limit", most, allowed, (len(starts) - 1) / seconds / allowed)


async def measured(name: str, dsn: str, ledger: Ledger, spawner: Spawner, workers: int) -> Use:
    """Run ``scattered.limited`` or ``rated`` with workers that are all there when it begins."""
    pg: asyncpg.Connection = await asyncpg.connect(**for_asyncpg(dsn))
    started = [spawner.worker(dsn, "scattered") for _ in range(workers)]
    counted = "SELECT count(*) FROM flowstone.workers"
    await eventually(lambda: _is(pg, counted, workers))
    async with FlowStone([scattered], dsn=dsn) as app:
        handle = await app.enqueue(f"scattered.{name}")
        await until_ended(pg, handle.run_id, within=120)
    for worker in started:
        worker.ask_to_stop()
    for worker in started:
        await worker.exit_code()
    await pg.close()
    spans = [(int(began), int(ended)) for began, ended in map(str.split, lines(ledger, name))]
    if name == "limited":
        return at_once(spans, LIMIT)
    return within_a_second([began for began, _ in spans], RATE)


async def _is(pg: asyncpg.Connection, query: str, wanted: int) -> bool:
    return bool(await pg.fetchval(query) == wanted)
