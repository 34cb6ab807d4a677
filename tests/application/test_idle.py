"""What a worker asks of its store while there is nothing to do, in an hour that passes at once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.schedule_store import DueSchedule
from flowstone.core.contracts.store import Capacity, Rescued, Settlement, Turn
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.worker_options import WorkerOptions
from tests.application.leaping_loop import LeapingLoop
from tests.application.stage import OneMemory

HOUR = 3600
BEATS = HOUR / 5
"""A worker on Postgres beats each third of its lease, which is 15 s."""


class CountingStore(MemoryStore):
    """Counts the calls that are one statement each on Postgres."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        self.calls["turn"] += 1
        return await super().turn(worker_id, settlements, capacity)

    async def rescue(self, *, max_rescues: int, rescuer: int | None = None) -> Sequence[Rescued]:
        self.calls["rescue"] += 1
        return await super().rescue(max_rescues=max_rescues, rescuer=rescuer)

    async def hold_lease(self, name: str, holder: str, duration: timedelta) -> bool:
        self.calls["lease"] += 1
        return await super().hold_lease(name, holder, duration)

    async def due_schedules(self, *, limit: int) -> tuple[datetime, Sequence[DueSchedule]]:
        self.calls["schedules"] += 1
        return await super().due_schedules(limit=limit)

    async def owned(self, worker_id: int) -> Sequence[tuple[int, int]]:
        self.calls["owned"] += 1
        return await super().owned(worker_id)

    async def aborts(self, worker_id: int) -> Sequence[int]:
        self.calls["aborts"] += 1
        return await super().aborts(worker_id)


async def idle(store: CountingStore, queue_count: int) -> None:
    pipeline = Pipeline("p")

    @pipeline.job
    async def rare() -> None: ...

    in_half_a_year = (datetime.now(UTC) + timedelta(days=180)).month
    pipeline.schedule("rare", f"0 0 1 {in_half_a_year} *", rare.with_())
    queues = {f"queue-{number}": 10 for number in range(queue_count)}
    async with FlowStone(pipeline, dsn="memory://", plugins=[OneMemory(store)]) as app:
        worker = app.worker(WorkerOptions(queues=queues))
        asyncio.get_running_loop().call_later(HOUR, worker.stop)
        await worker.run()


@pytest.mark.parametrize("queue_count", [1, 100])
def test_an_idle_worker_makes_at_most_one_query_a_second(queue_count: int) -> None:
    store = CountingStore()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(idle(store, queue_count))

    assert store.calls.total() + BEATS <= 0.95 * HOUR
    assert 0 < store.calls["schedules"] <= HOUR / 30 + 2
    assert store.calls["turn"] <= HOUR / 4, "it looks for work when it polls, and then only"
