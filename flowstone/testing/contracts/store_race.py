"""
Workers that race: several turns are under way at once, over runs and jobs that share the store.

Whatever a worker owns, its settlement has to be accepted, so each worker writes down what it
settles before it does. A turn may fail as long as it leaves nothing behind and is worth repeating.
In the end every materialization and every job has ended once; see `store_invariants`.
"""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest

from flowstone.core.contracts.store import Capacity, Claim, Settlement, Store, Turn
from flowstone.core.errors import DatabaseError
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_invariants import Accepted, check, check_end
from flowstone.testing.contracts.store_runs import (
    Settle,
    Worker,
    failed,
    key,
    new_run,
    new_worker,
    retried,
    skipped,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

QUEUES = ("default", "mail")
WORKERS = 4
MOST_TURNS = 2_000
MOST_TRIES = 10


class RaceContract(StoreSuite):
    """Turns that meet neither lose nor repeat anything."""

    @pytest.mark.parametrize("seed", range(4))
    async def test_workers_that_race_end_everything_once(self, store: Store, seed: int) -> None:
        await race(store, Random(seed))

    @pytest.mark.parametrize("seed", range(4))
    async def test_a_cancel_amid_the_race_ends_everything_once(
        self, store: Store, seed: int
    ) -> None:
        await race(store, Random(seed), cancel=True)


async def race(store: Store, random: Random, *, cancel: bool = False) -> None:
    """
    Let workers finish a few runs and jobs together.

    Args:
        cancel: Whether one of the runs, and some jobs, are stopped on the way.
    """
    accepted = Accepted(f"{random.getrandbits(64):016x}")
    for _ in range(3):
        await _create_run(store, random, accepted)
    arrived = asyncio.Event()
    workers = [await new_worker(store) for _ in range(WORKERS)]
    racing = [_work(worker, Random(random.random()), accepted, arrived) for worker in workers]
    if cancel:
        accepted.cancelled.add(accepted.runs[0].id)
        await _enqueue(store, random, accepted)
        accepted.cancelled_jobs.update(random.sample(list(accepted.jobs), 10))
        racing.insert(2, _cancel(store, accepted))
    racing.insert(1, _enqueue_more(store, random, accepted, arrived))

    await asyncio.gather(*racing)

    ids = {name: id_ for run in accepted.runs for name, id_ in run.ids.items()}
    accepted.current = {
        key(name, accepted.partition): id_ for name, id_ in ids.items() if id_ in accepted.values
    }
    await check(store, accepted)
    await check_end(store, accepted)


async def _create_run(store: Store, random: Random, accepted: Accepted) -> None:
    prefix = f"run{len(accepted.runs)}"
    layers = [[f"{prefix}-{layer}-{number}" for number in range(6)] for layer in range(4)]
    plan: dict[str, list[str]] = {name: [] for name in layers[0]}
    for above, layer in pairwise(layers):
        for name in layer:
            upstreams = random.sample(above, random.randint(1, 4))
            plan[name] = [upstream + random.choice(["", "?"]) for upstream in upstreams]
    queues = {name: random.choice(QUEUES) for name in plan}
    run = await new_run(store, plan, queues=queues, partition=accepted.partition)
    accepted.plan(run, plan)


async def _enqueue(store: Store, random: Random, accepted: Accepted) -> None:
    jobs = [
        new_job(arguments=f'{{"number": {number}}}', queue=random.choice(QUEUES))
        for number in range(30)
    ]
    ids = await enqueued(store, *jobs)
    accepted.enqueue(dict(zip(ids, [it.arguments for it in jobs], strict=True)))


async def _enqueue_more(
    store: Store, random: Random, accepted: Accepted, arrived: asyncio.Event
) -> None:
    for _ in range(3):
        await _enqueue(store, random, accepted)
        await asyncio.sleep(0)
    arrived.set()


async def _work(worker: Worker, random: Random, accepted: Accepted, arrived: asyncio.Event) -> None:
    held: list[Claim] = []
    for _ in range(MOST_TURNS):
        settlements = [_settlement(claim, random) for claim in held]
        for claim, settlement in zip(held, settlements, strict=True):
            accepted.settled(claim, settlement, is_stopping=False)

        turn = await _turn(worker, settlements, random.randint(1, 3))

        assert list(turn.refused) == []
        held = list(turn.claims)
        if any(claim.run_id is None and claim.id not in accepted.jobs for claim in held):
            await arrived.wait()  # they were claimed before who enqueued them has heard their ids
        for claim in held:
            accepted.claimed(claim)
        has_ended = arrived.is_set() and not held and not await accepted.open_rows(worker.store)
        if has_ended and not await accepted.open_jobs(worker.store):
            return
        await asyncio.sleep(0)  # a store that awaits nothing would not let the others go on
    raise AssertionError("the runs do not end")


async def _turn(worker: Worker, settlements: Sequence[Settlement], slots: int) -> Turn:
    for _ in range(MOST_TRIES):
        try:
            return await worker.store.turn(
                worker.id, settlements, Capacity(dict.fromkeys(QUEUES, slots))
            )
        except DatabaseError as error:
            if not error.retryable:
                raise
    raise AssertionError("the turn does not come to an end")


def _settlement(claim: Claim, random: Random) -> Settlement:
    if claim.attempt == 1 and random.random() < 0.2:
        return retried(claim)
    ways: list[Settle] = [succeeded, failed, skipped]
    return random.choices(ways, weights=[90, 5, 5])[0](claim)


async def _cancel(store: Store, accepted: Accepted) -> None:
    await store.cancel_run(accepted.runs[0].id)
    await store.cancel_jobs(list(accepted.cancelled_jobs))
