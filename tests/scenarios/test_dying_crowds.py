"""Whoever dies with a statement that many share: nothing is stuck, and nothing goes on twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.worker_options import WorkerOptions
from flowstone.plugins.checkpoints import Approval, approve, list_approvals
from flowstone.plugins.signal_gate import Answer, signal
from flowstone.testing import advance, mark_as_test
from tests.plugins.conftest import template_database  # with the tables of plugins
from tests.scenarios.consistency import LEFT_OVER, until_ended
from tests.scenarios.deaths import LONG, give_up_all
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.crowd import booked, crowd, gate
from tests.scenarios.spawned import Spawner

__all__ = ["template_database"]

WHEN = ("before", "after")
OPENING = ("signal_gate_create_v1", "checkpoints_request_v1")
TIMING_OUT = ("signal_gate_time_out_v1", "checkpoints_expire_v1")
SIGNALING, DECIDING = "signal_gate_signal_v1", "checkpoints_decide_v1"
FUNCTIONS = (*OPENING, *TIMING_OUT, SIGNALING, DECIDING)
MANY = 8

OPEN = """
SELECT
    (SELECT count(*) FROM flowstone.signal_gates WHERE status = 'waiting')
    + (SELECT count(*) FROM flowstone.approvals WHERE decided_at IS NULL)
"""
OPENED = """
SELECT token FROM flowstone.signal_gates
WHERE status = 'waiting' AND token ~ '^signal_gate_create_v1'
UNION ALL
SELECT partition FROM flowstone.approvals
WHERE decided_at IS NULL AND partition ~ '^checkpoints_request_v1'
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone(crowd, dsn=dsn) as app:
        await mark_as_test(dsn)
        yield app


def queues_of(*functions: str) -> list[str]:
    return [f"{function}-{when}" for function in functions for when in WHEN]


def partitions(queue: str) -> list[str]:
    return [f"{queue}-{number}" for number in range(MANY)]


async def enqueue(app: FlowStone, *queues: str) -> list[int]:
    """Leave many gates, or many approvals, to each of the queues."""
    runs = []
    for queue in queues:
        target = gate if queue.startswith("signal_gate") else booked
        handle = await app.enqueue_many([target], over=partitions(queue), queue=queue)
        runs.append(handle.run_id)
    return runs


async def drain(app: FlowStone, queues: Sequence[str]) -> None:
    options = WorkerOptions(dict.fromkeys(queues, MANY), drain=True)
    await app.worker(options).run()


async def asked(app: FlowStone, queues: Sequence[str]) -> Mapping[str, Sequence[Approval]]:
    waiting = await list_approvals(app, limit=1000)
    return {queue: [it for it in waiting if it.partition.startswith(queue)] for queue in queues}


@pytest.mark.timeout(300)
async def test_many_who_die_at_once_go_on_once_each(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    due, sent = queues_of(*TIMING_OUT), queues_of(SIGNALING, DECIDING)
    runs = await enqueue(app, *due)
    await drain(app, due)
    await advance(app, "2h")
    runs += await enqueue(app, *sent)
    await drain(app, sent)
    runs += await enqueue(app, *queues_of(*OPENING))
    approvals = await asked(app, queues_of(DECIDING))
    tokens = {queue: partitions(queue) for queue in queues_of(SIGNALING)}

    dying = spawn.start(
        "dying_crowd",
        {
            "dsn": dsn,
            "lease": LONG,
            "steps": [[function, when] for function in FUNCTIONS for when in WHEN],
            "tokens": tokens,
            "approvals": {queue: [it.id for it in found] for queue, found in approvals.items()},
        },
    )
    assert await dying.exit_code() == 0, dying.output()
    await give_up_all(pg)
    outlived = await opened(pg)

    # Who has had no answer asks again.
    answers = {
        queue: {it.answer for it in await asyncio.gather(*(signal(app, it, "x") for it in of))}
        for queue, of in tokens.items()
    }
    assert answers[f"{SIGNALING}-before"] <= {Answer.ACCEPTED, Answer.REPEATED}
    assert Answer.ACCEPTED in answers[f"{SIGNALING}-before"]
    assert answers[f"{SIGNALING}-after"] <= {Answer.ACCEPTED, Answer.REPEATED}
    assert Answer.REPEATED in answers[f"{SIGNALING}-after"]
    for found in approvals.values():
        await asyncio.gather(*(approve(app, it.id, by="ann") for it in found))

    opening = queues_of(*OPENING)
    worker = app.worker(WorkerOptions(dict.fromkeys(queues_of(*FUNCTIONS), MANY)))
    working = asyncio.create_task(worker.run())
    wanted = {it for queue in opening for it in partitions(queue)}
    await eventually(lambda: are_open(pg, wanted))
    await asyncio.gather(
        *(signal(app, it, "x") for queue in queues_of(OPENING[0]) for it in partitions(queue))
    )
    for found in (await asked(app, opening)).values():
        await asyncio.gather(*(approve(app, it.id, by="ann") for it in found))
    await until_ended(pg, *runs)
    worker.stop()
    await working

    lines = (ledger.folder / "continued").read_text(encoding="utf-8").splitlines()
    told = [tuple(line.split()[:2]) for line in lines]
    everybody = [it for queue in queues_of(*FUNCTIONS) for it in partitions(queue)]
    went_on, begun = Counter[str](), Counter[str]()
    for what, who in told:
        (went_on if what == "went-on" else begun)[who] += 1
    assert {*went_on} == {*begun} == {*everybody}
    # The first of many goes alone, and may have gone on when the next statement kills its worker.
    assert queues_of_those_twice(went_on) <= {*due}
    # What was committed stands. A body of which nothing was has to begin again.
    for queue in opening:
        of = outlived & {*partitions(queue)}
        assert len(of) > 1 if queue.endswith("-after") else len(of) < MANY - 1, (queue, of)
        assert {begun[it] for it in of} <= {1}, queue
    assert {it for it, times in begun.items() if times > 1} <= wanted - outlived
    (left,) = await pg.fetch(LEFT_OVER)
    assert dict(left) == {"open_jobs": 0, "waits": 0, "values_of_nothing": 0}
    assert await pg.fetchval(OPEN) == 0


async def opened(pg: asyncpg.Connection) -> set[str]:
    return {it for (it,) in await pg.fetch(OPENED)}


async def are_open(pg: asyncpg.Connection, wanted: set[str]) -> bool:
    return await opened(pg) == wanted


def queues_of_those_twice(told: Counter[str]) -> set[str]:
    return {who.rpartition("-")[0] for who, times in told.items() if times > 1}
