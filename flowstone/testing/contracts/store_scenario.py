"""
Random runs and jobs with random accidents: workers claim, settle, wait, die, leave, come too late.

The players know what they own, so every answer of the store has one right value, and after each
move its rows have to agree with one another and with what was accepted; see `store_invariants`. In
the end everything is let go on, and every run and job has to end.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest

from flowstone.core.contracts.store import Capacity, Claim, Key, Settlement, Store, WorkerLostError
from flowstone.core.status import Event, Status
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_invariants import Accepted, check, check_end
from flowstone.testing.contracts.store_runs import (
    SETTLEMENTS,
    Worker,
    handed_back,
    new_run,
    new_worker,
    retried,
    short_name,
    snoozed,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(seconds=30)
MAX_RESCUES = 2
QUEUES = ("default", "mail")
MARKS = ("{}", "{}", "{}?", ">{}", ">{}?")
LATER = (None, None, timedelta(0), timedelta(minutes=10))

EVERYTHING = Capacity(dict.fromkeys(QUEUES, 100))

Advance = Callable[[timedelta], Awaitable[None]]


class ScenarioContract(StoreSuite):
    """Whatever happens in whatever order, the rows add up, and every run and job ends."""

    @pytest.mark.parametrize("seed", range(12))
    async def test_random_runs_with_random_accidents_add_up(self, store: Store, seed: int) -> None:
        async def advance(delta: timedelta) -> None:
            await self.advance(store, delta)

        await play(store, advance, Random(seed))


async def play(store: Store, advance: Advance, random: Random, *, moves: int = 40) -> None:
    """
    Play one scenario to its end; the store may hold other runs, if they have ended.

    Args:
        random: Decides everything; the same state of it plays the same scenario.
        moves: How many things happen before everything is let go on.
    """
    scenario = Scenario(store, advance, random, Accepted(f"{random.getrandbits(64):016x}"))
    await scenario.begin()
    for _ in range(moves):
        await scenario.move()
        await check(store, scenario.accepted)
    await scenario.finish()
    await check(store, scenario.accepted)
    await check_end(store, scenario.accepted)


@dataclass(slots=True)
class Scenario:
    """
    The players and what they know.

    Attributes:
        held: What each worker owns, by worker id and materialization id.
        void: Claims that were settled or lost: whoever settles them again is refused.
        stopping: Materializations that ran when their run was cancelled.
        suspects: The suspect that each worker has begun last.
    """

    store: Store
    advance: Advance
    random: Random
    accepted: Accepted
    workers: list[Worker] = field(default_factory=list)
    held: dict[int, dict[int, Claim]] = field(default_factory=dict)
    void: list[Claim] = field(default_factory=list)
    stopping: set[int] = field(default_factory=set)
    suspects: dict[int, int] = field(default_factory=dict)

    async def begin(self) -> None:
        """Introduce workers, create the first runs and enqueue the first jobs."""
        for _ in range(self.random.randint(1, 3)):
            await self._hire()
        for _ in range(self.random.randint(1, 2)):
            await self._create_run()
        await self._enqueue_jobs()

    async def move(self) -> None:
        """Let one thing happen."""
        what = self.random.choices(
            [
                self._work,
                self._create_run,
                self._enqueue_jobs,
                self._wake_one,
                self._let_time_pass,
                self._cancel_one,
                self._cancel_jobs,
                self._lose_worker,
                self._dismiss_worker,
            ],
            weights=[60, 4, 8, 10, 8, 1, 3, 4, 3],
        )[0]
        await what()

    async def finish(self) -> None:
        """Let everything go on until every run and job has ended."""
        for _ in range(200):
            await self.advance(timedelta(days=1))
            open_ids = await self._open()
            if not open_ids:
                return
            for id_, status in open_ids.items():
                if status is Status.WAITING:
                    assert await self.store.wake(id_, "null")
            for worker in self.workers:
                held = self._held_by(worker)
                await self._turn(worker, [succeeded(each) for each in held], EVERYTHING)
        raise AssertionError("the runs do not end")

    async def _open(self) -> dict[int, Status]:
        rows = {row.id: row.status for row in await self.accepted.open_rows(self.store)}
        return rows | {it.job_id: it.status for it in await self.accepted.open_jobs(self.store)}

    async def _hire(self) -> None:
        worker = await new_worker(self.store)
        self.workers.append(worker)
        self.held[worker.id] = {}

    async def _create_run(self) -> None:
        plan = self._plan()
        run = await new_run(
            self.store,
            plan,
            partition=self.accepted.partition,
            queues={name: self.random.choice(QUEUES) for name in plan},
            priorities={name: self.random.randint(-1, 1) for name in plan},
        )
        self.accepted.plan(run, plan)

    async def _enqueue_jobs(self) -> None:
        jobs = [
            new_job(
                self.random.choice("xyz"),
                f'{{"number": {self.random.randrange(1000)}}}',
                queue=self.random.choice(QUEUES),
                priority=self.random.randint(-1, 1),
                delay=self.random.choice(LATER),
            )
            for _ in range(self.random.randint(1, 4))
        ]
        ids = await enqueued(self.store, *jobs)
        self.accepted.enqueue(dict(zip(ids, [it.arguments for it in jobs], strict=True)))

    def _plan(self) -> Mapping[str, Sequence[str]]:
        names = [f"a{number}" for number in range(self.random.randint(1, 8))]
        return {
            name: [
                self.random.choice(MARKS).format(upstream)
                for upstream in names[:place]
                if self.random.random() < 0.4
            ]
            for place, name in enumerate(names)
        }

    async def _work(self) -> None:
        """One worker settles some of what it owns, together with what it does not own any more."""
        worker = self.random.choice(self.workers)
        held = self._held_by(worker)
        settlements = [self._settlement(claim) for claim in held if self.random.random() < 0.7]
        if self.void and self.random.random() < 0.3:
            settlements.append(self._settlement(self.random.choice(self.void)))
        if settlements and self.random.random() < 0.2:
            settlements.append(self.random.choice(settlements))
        if self.random.random() < 0.1:
            stranger = self.random.choice(self.workers)
            settlements += [self._settlement(claim) for claim in self._held_by(stranger)[:1]]
        self.random.shuffle(settlements)
        await self._turn(worker, settlements, self._capacity())

    def _settlement(self, claim: Claim) -> Settlement:
        event = self.random.choices(list(SETTLEMENTS), weights=[40, 8, 6, 4, 12, 8, 16, 6])[0]
        later = self.random.choice(LATER)
        match event:
            case Event.SUCCEEDED:
                return succeeded(claim, f'["{claim.id}", {claim.claim}]')
            case Event.RETRIED:
                return retried(claim, later)
            case Event.SNOOZED:
                return snoozed(claim, later)
            case Event.HANDED_BACK:
                return handed_back(claim, later)
            case Event.WAITED:
                return waited(claim, f"wait {claim.claim}", state=str(claim.claim), timeout=later)
            case _:
                return SETTLEMENTS[event](claim)

    async def _turn(
        self, worker: Worker, settlements: Sequence[Settlement], capacity: Capacity
    ) -> None:
        expected = self._settle(worker, settlements)
        turn = await self.store.turn(worker.id, settlements, capacity)
        # Of several settlements of one id in a batch only what came of them can be seen.
        once = {id_ for id_, times in Counter(s.id for s in settlements).items() if times == 1}
        assert sorted(once & {*turn.refused}) == sorted(once & {*expected})
        for claim in turn.claims:
            self.accepted.claimed(claim)
            if claim.is_suspect and self.random.random() < 0.5:
                await self.store.suspect(worker.id, claim.id)
                self.suspects[worker.id] = claim.id
            assert all(claim.id not in held for held in self.held.values()), "claimed twice"
            self.held[worker.id][claim.id] = claim

    def _settle(self, worker: Worker, settlements: Sequence[Settlement]) -> list[int]:
        """Write down what the store has to accept, and return what it has to refuse."""
        refused = []
        current: dict[Key, int] = {}
        for settlement in settlements:
            held = self.held[worker.id].get(settlement.id)
            if held is None or held.claim != settlement.claim:
                refused.append(settlement.id)
                continue
            self._lose(worker.id, held)
            self.accepted.settled(held, settlement, is_stopping=held.id in self.stopping)
            if settlement.event is Event.SUCCEEDED and held.id not in self.accepted.jobs:
                key = Key(held.asset, held.partition)
                current[key] = max(held.id, current.get(key, 0))
        self.accepted.current |= current
        return refused

    def _capacity(self) -> Capacity:
        slots = self.random.randint(0, 4)
        if self.random.random() < 0.3:
            run = self.random.choice(self.accepted.runs)
            return Capacity(run_id=run.id, slots=slots)
        return Capacity(dict.fromkeys(QUEUES, slots))

    async def _wake_one(self) -> None:
        begun = {id_: it for id_, it in (await self._open()).items() if it is not Status.PENDING}
        if begun:
            id_ = self.random.choice(sorted(begun))
            is_awake = await self.store.wake(id_, '"woken"')
            assert is_awake or begun[id_] is not Status.WAITING

    async def _let_time_pass(self) -> None:
        await self.advance(self.random.choice([timedelta(seconds=5), timedelta(minutes=11)]))

    async def _cancel_one(self) -> None:
        run = self.random.choice(self.accepted.runs)
        self.accepted.cancelled.add(run.id)
        running = {id_ for held in self.held.values() for id_ in held} & set(run.ids.values())
        self.stopping |= running
        open_rows = [
            row for row in await self.accepted.open_rows(self.store) if row.run_id == run.id
        ]

        assert await self.store.cancel_run(run.id) == len(open_rows)

        asked = [id_ for worker in self.workers for id_ in await self.store.aborts(worker.id)]
        assert running <= set(asked) <= self.stopping

    async def _cancel_jobs(self) -> None:
        """Cancel some, together with what is no job: that goes on."""
        jobs = self.random.choices(list(self.accepted.jobs), k=3)
        assets = self.random.choice(self.accepted.runs).ids.values()
        running = {id_ for held in self.held.values() for id_ in held} & {*jobs}
        was_open = {it.job_id for it in await self.accepted.open_jobs(self.store)} & {*jobs}
        self.accepted.cancelled_jobs.update(jobs)
        self.stopping |= running

        assert await self.store.cancel_jobs([*jobs, *assets]) == len(was_open)

        asked = [id_ for worker in self.workers for id_ in await self.store.aborts(worker.id)]
        assert running <= set(asked) <= self.stopping

    async def _lose_worker(self) -> None:
        """One worker does not beat any more, and comes back when it has been given up."""
        lost = self.workers.pop(self.random.randrange(len(self.workers)))
        await self.advance(2 * LEASE)
        for worker in self.workers:
            assert await worker.beat()

        rescued = await self.store.rescue(max_rescues=MAX_RESCUES)

        owned = self._held_by(lost)
        taken = {each.worker_id: sorted(each.materialization_ids) for each in rescued}
        assert taken.get(lost.id, []) == sorted(claim.id for claim in owned)
        assert set(taken) <= {lost.id}
        for claim in owned:
            self._lose(lost.id, claim)
            self.accepted.lost(
                claim,
                max_rescues=MAX_RESCUES,
                is_begun=not claim.is_suspect or self.suspects.get(lost.id) == claim.id,
                is_stopping=claim.id in self.stopping,
            )
        with pytest.raises(WorkerLostError):
            await lost.turn(*(self._settlement(claim) for claim in owned))
        await self._hire()

    async def _dismiss_worker(self) -> None:
        leaving = self.workers.pop(self.random.randrange(len(self.workers)))
        await self.store.unregister_worker(leaving.id)
        for claim in self._held_by(leaving):
            self._lose(leaving.id, claim)
            if claim.id in self.stopping:
                self.accepted.own_end[claim.id] = Event.CANCELLED
        await self._hire()

    def _held_by(self, worker: Worker) -> list[Claim]:
        return sorted(self.held[worker.id].values(), key=short_name)

    def _lose(self, worker_id: int, claim: Claim) -> None:
        del self.held[worker_id][claim.id]
        self.void.append(claim)
