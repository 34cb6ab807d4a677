"""Ten thousand that wait, and a worker with nothing to do, on the wire and ten times faster."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.asset import Definition
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake
from flowstone.core.worker_options import WorkerOptions
from tests.scenarios.eventually import eventually
from tests.scenarios.lossy_proxy import LossyProxy

WAITING = 10_000
FASTER = 10
USUAL = WorkerOptions()
ROWS = """
SELECT m.status, j.status AS job, count(*)
FROM flowstone.materializations m
JOIN flowstone.procrastinate_jobs j ON j.id = m.materialization_id
GROUP BY 1, 2
"""


class Patience(Strategy):
    async def start(self, execution: Execution) -> Outcome:
        return Waiting("signal")

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


def ask() -> None: ...


pipeline = Pipeline("idle")
patient = pipeline.asset(name="patient")(
    Definition[..., Any](ask, strategy=Patience(), value_type=type(None))
)


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(dsn).listening() as proxy:
        yield proxy


async def last_beat(pg: asyncpg.Connection) -> datetime | None:
    beat: datetime | None = await pg.fetchval("SELECT heartbeat_at FROM flowstone.workers")
    return beat


@pytest.mark.timeout(300)
async def test_ten_thousand_that_wait_hold_no_job_and_cost_an_idle_worker_nothing(
    dsn: str, pg: asyncpg.Connection, proxy: LossyProxy
) -> None:
    async with FlowStone(pipeline, dsn=dsn) as app:
        await app.enqueue_many([patient], over=range(WAITING))
        await app.worker(WorkerOptions(queues={"default": 1_000}, drain=True)).run()

    assert [tuple(row) for row in await pg.fetch(ROWS)] == [("waiting", "todo", WAITING)]

    queues = {"default": 100, **{f"queue-{number}": 1 for number in range(20)}}
    async with FlowStone(pipeline, dsn=proxy.dsn) as app:
        worker = app.worker(
            WorkerOptions(
                queues=queues,
                lease=USUAL.lease / FASTER,
                poll_interval=USUAL.poll_interval / FASTER,
            )
        )
        working = asyncio.create_task(worker.run())
        began = await eventually(lambda: last_beat(pg))
        first = await eventually(lambda: beat_after(pg, began))
        begin, before = time.monotonic(), proxy.answered
        await eventually(lambda: beat_after(pg, first + timedelta(seconds=4)))
        answered, seconds = proxy.answered - before, time.monotonic() - begin
        worker.stop()
        await working

    at_either_end = 5  # what it looks for comes together, and falls within or not
    assert answered <= FASTER * seconds + at_either_end


async def beat_after(pg: asyncpg.Connection, instant: datetime) -> datetime | None:
    beat = await last_beat(pg)
    return beat if beat is not None and beat > instant else None
