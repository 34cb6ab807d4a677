"""
Enqueues unique jobs in bulk, or works on them, as fast as it can, by a store of its own.

``{"dsn": …, "role": "client" | "worker", "seed": …, "batches": …}``. A client enqueues so many
batches and prints what became of its jobs. A worker ends jobs in all ways, is now and then given up
with what it has, and goes on until the gate ``no-more`` is open and nothing is left.
"""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from random import Random

from flowstone.core.contracts.job_queue import JobSelection, NewJob
from flowstone.core.contracts.store import Claim, Settlement, WorkerLostError
from flowstone.core.status import Status
from flowstone.core.unique_key import JobState, OnConflict, UniqueKey
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    Worker,
    cancelled,
    failed,
    handed_back,
    new_worker,
    retried,
    snoozed,
    succeeded,
)
from tests.scenarios.ledger import Ledger
from tests.scenarios.processes.life import argument, end_with_the_test

KEYS = 30
LEASE = timedelta(milliseconds=300)
WINDOW = timedelta(milliseconds=20)
WAITING = frozenset({JobState.WAITING})
OPEN = WAITING | {JobState.RUNNING}

ENDS = [succeeded, failed, cancelled]
BACK = [retried, snoozed, handed_back]


def rival_job(number: int) -> NewJob:
    """Return a job of one of the keys; a third covers waiting alone, a third has a window."""
    states = WAITING if number % 3 == 1 else OPEN
    within = WINDOW if number % 3 == 2 else None
    conflict = OnConflict.REPLACE if number % 2 else OnConflict.EXISTING
    unique = UniqueKey(f"k{number:02}", states, within, conflict)
    return NewJob("test.rival", "{}", QUEUE, unique=unique)


async def enqueue(store: PostgresStore, random: Random, batches: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(batches):
        numbers = [random.randrange(KEYS) for _ in range(random.randint(1, KEYS))]
        enqueued = await store.enqueue([rival_job(it) for it in numbers])
        found.update("created" if it.created else "found" for it in enqueued)
        found.update("replaced" for it in enqueued if it.replaced)
    return found


async def work(store: PostgresStore, random: Random, ledger: Ledger) -> None:
    worker = await new_worker(store, lease=LEASE)
    held: list[Claim] = []
    while True:
        is_last = ledger.is_open("no-more")
        if random.random() < 0.02:
            worker, held = await _given_up(store, worker), []
        try:
            await worker.beat()
            held = await worker_turn(worker, held, random, is_last=is_last)
        except WorkerLostError:
            # The machine was busy for longer than the lease: the other one has what it had.
            worker, held = await new_worker(store, lease=LEASE), []
        await store.rescue(max_rescues=3)
        if is_last and not held and not await _is_left(store):
            return


async def worker_turn(
    worker: Worker, held: list[Claim], random: Random, *, is_last: bool
) -> list[Claim]:
    settlements: list[Settlement] = []
    for claim in held:
        if is_last or random.random() < 0.5:
            settlements.append(random.choice(ENDS)(claim))
        else:
            settlements.append(random.choice(BACK)(claim, None))
    return list((await worker.turn(*settlements, slots=random.randint(1, 10))).claims)


async def _given_up(store: PostgresStore, worker: Worker) -> Worker:
    """Let it fall silent, with what it has, until it is given up; go on as another."""
    while await store.owned(worker.id):
        await store.rescue(max_rescues=3)
        await asyncio.sleep(0.02)
    return await new_worker(store, lease=LEASE)


async def _is_left(store: PostgresStore) -> bool:
    left = JobSelection(statuses=[Status.READY, Status.RUNNING])
    return bool((await store.find_jobs(left, limit=1)).jobs)


async def run(dsn: str, role: str, seed: int, batches: int) -> None:
    end_with_the_test()
    ledger = Ledger.of_this_process()
    store = PostgresStore(dsn)
    await store.open()
    try:
        if role == "worker":
            await work(store, Random(seed), ledger)
        else:
            print(json.dumps(await enqueue(store, Random(seed), batches)), flush=True)
    finally:
        await store.close()


if __name__ == "__main__":
    given = argument()
    asyncio.run(run(given["dsn"], given["role"], given["seed"], given["batches"]))
