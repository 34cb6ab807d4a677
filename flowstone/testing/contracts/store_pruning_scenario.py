"""
Random runs and jobs, failures, waits and repeats, pruned at random moments.

After each pruning, what is open is as it was and can load its inputs, what is current is current
and has its value, and exactly those runs are gone whose time was up. In the end nothing is left but
what is current, and what that was made from.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest

from flowstone.core.contracts.job_queue import JobRecord
from flowstone.core.contracts.store import Claim, Current, MaterializationRecord, NewRun, Store
from flowstone.core.errors import RunNotFoundError
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import (
    Settle,
    SmallRun,
    Worker,
    failed,
    key,
    new_run,
    new_worker,
    skipped,
    snoozed,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

DAY = timedelta(days=1)
POLICY = Retention(30 * DAY, failed=90 * DAY, values=7 * DAY)
NAMES = tuple("abcdef")
CLOSE = timedelta(minutes=5)
"""Whatever is so close to the end of its period may go or stay: the test takes time itself."""

Advance = Callable[[timedelta], Awaitable[None]]


class PruningScenarioContract(StoreSuite):
    """Whatever happens in whatever order, nothing that is needed goes, and all else does."""

    @pytest.mark.parametrize("seed", range(10))
    async def test_pruning_takes_all_that_is_not_needed_and_nothing_else(
        self, store: Store, seed: int
    ) -> None:
        async def advance(delta: timedelta) -> None:
            await self.advance(store, delta)

        await play(store, advance, Random(seed))


async def play(store: Store, advance: Advance, random: Random, *, moves: int = 60) -> None:
    """Play one scenario in an empty store to its end."""
    scenario = PruningScenario(store, advance, random, await new_worker(store))
    for _ in range(moves):
        await scenario.move()
    await scenario.finish()


@dataclass(slots=True)
class PruningScenario:
    """
    One player and what it knows.

    Attributes:
        runs: Those that were not seen to be gone.
        loads: What each materialization is made from, by id.
        jobs: All that were ever enqueued.
        held: What was claimed and not settled.
    """

    store: Store
    advance: Advance
    random: Random
    worker: Worker
    runs: dict[int, SmallRun] = field(default_factory=dict)
    loads: dict[int, list[int]] = field(default_factory=dict)
    jobs: list[int] = field(default_factory=list)
    held: list[Claim] = field(default_factory=list)

    async def move(self) -> None:
        """Let one thing happen."""
        what = self.random.choices(
            [
                self._create_run,
                self._enqueue_jobs,
                self._work,
                self._wake_one,
                self._let_time_pass,
                self._prune,
            ],
            weights=[25, 15, 40, 5, 15, 15],
        )[0]
        await what()

    async def finish(self) -> None:
        """Let everything end, let time pass, prune, and look at what is left."""
        for run_id in self.runs:
            record = await self.store.run(run_id)
            if record.status is RunStatus.RUNNING and self.random.random() < 0.3:
                await self.store.cancel_run(run_id)
        for _ in range(100):
            await self.advance(DAY)
            self.held += await self.worker.claims()
            await self.worker.settle(*map(succeeded, self.held))
            self.held.clear()
            rows = [row for run_id in self.runs for row in await self._rows(run_id)]
            for row in rows:
                if row.status is Status.WAITING:
                    await self.store.wake(row.id, "null")
            jobs = (await self.store.jobs(self.jobs)).values()
            for job in jobs:
                if job.status is Status.WAITING:
                    await self.store.wake(job.job_id, "null")
            statuses = [*(row.status for row in rows), *(job.status for job in jobs)]
            if all(it.is_terminal for it in statuses):
                break
        await self.advance(400 * DAY)
        while not (await self.store.prune(POLICY, limit=self.random.choice([2, 5, 1000]))).is_done:
            pass
        assert await self.store.runs(limit=1000) == []
        assert await self.store.jobs(self.jobs) == {}
        assert [it for job_id in self.jobs for it in await self.store.failed_attempts(job_id)] == []
        current = {it.materialization_id for it in (await self._current()).values()}
        kept = {row.id for name in NAMES for row in await self._history(name)}
        assert kept == self._made_from(current)
        assert set(await self.store.values(sorted(kept))) == current

    async def _create_run(self) -> None:
        """Plan some assets; of those upstream some are computed, some taken as they are."""
        current = {name: it for name, it in (await self._current()).items() if name in NAMES}
        wanted = [name for name in NAMES if self.random.random() < 0.5]
        taken = {
            name: it.materialization_id
            for name, it in current.items()
            if name not in wanted and self.random.random() < 0.5
        }
        plan = {
            name: [it for it in NAMES if it < name and (it in wanted or it in taken)][-2:]
            for name in wanted
        }
        run = await new_run(self.store, plan, reused=taken)
        self.runs[run.id] = run
        ids = {**taken, **run.ids}
        self.loads |= {run[name]: [ids[it] for it in plan[name]] for name in wanted}

    async def _enqueue_jobs(self) -> None:
        self.jobs += await enqueued(self.store, *[new_job()] * self.random.randint(1, 4))

    async def _work(self) -> None:
        self.held += await self.worker.claims(self.random.randint(0, 6))
        self.random.shuffle(self.held)
        some = [self.held.pop() for _ in range(self.random.randint(0, len(self.held)))]
        for claim in some:
            assert sorted(it.materialization_id for it in claim.inputs) == sorted(
                self.loads.get(claim.id, [])
            )
            assert None not in [it.value for it in claim.inputs], "an input is gone"
        how: list[Settle] = [succeeded] * 3 + [failed, skipped, waited, snoozed]
        refused = await self.worker.settle(*(self.random.choice(how)(it) for it in some))
        assert refused == []

    async def _wake_one(self) -> None:
        rows = [row for run_id in self.runs for row in await self._rows(run_id)]
        waiting = [row.id for row in rows if row.status is Status.WAITING]
        if waiting:
            assert await self.store.wake(self.random.choice(waiting), "null")

    async def _let_time_pass(self) -> None:
        await self.advance(self.random.choice([timedelta(hours=2), DAY, 10 * DAY, 40 * DAY]))
        assert await self.worker.beat()

    async def _prune(self) -> None:
        before = {run_id: await self._rows(run_id) for run_id in self.runs}
        records = {run_id: await self.store.run(run_id) for run_id in self.runs}
        jobs = await self.store.jobs(self.jobs)
        current = await self._current()
        # Its creation is the store's time; the run is gone or young like any other.
        created = await self.store.create_run(NewRun(targets=[], steps=[], reused=[]))
        now = (await self.store.run(created.run_id)).created_at

        is_done = False
        while not is_done:
            limit = self.random.choice([2, 3, 10, 1000])
            is_done = (await self.store.prune(POLICY, limit=limit)).is_done
            if self.random.random() < 0.1:
                break

        assert await self._current() == current
        ids = [it.materialization_id for it in current.values()]
        assert set(await self.store.values(ids)) == set(ids)
        await self._look_for(jobs, now, is_done=is_done)
        for run_id, record in records.items():
            left = _left(record.status, record.finished_at, now)
            try:
                assert (await self.store.run(run_id)).counts == record.counts or left < CLOSE
            except RunNotFoundError:
                assert left < CLOSE
                del self.runs[run_id]
                continue
            assert left > -CLOSE or not is_done, "its time was up"
            if left > CLOSE:
                assert await self._rows(run_id) == before[run_id]
                for reused in await self.store.reused(run_id):
                    assert reused.materialization_id in await self.store.values(
                        [reused.materialization_id]
                    )

    async def _look_for(
        self, before: Mapping[int, JobRecord], now: datetime, *, is_done: bool
    ) -> None:
        """Check which of the jobs are gone: those whose time was up, and no other."""
        jobs = await self.store.jobs(list(before))
        for job_id, job in before.items():
            period = POLICY.of_queue(job.queue)[job.status is Status.FAILED]
            assert period is not None
            left = 1000 * DAY if job.finished_at is None else job.finished_at + period - now
            if left > CLOSE:
                assert jobs[job_id] == job
            elif left < -CLOSE and is_done:
                assert job_id not in jobs, "its time was up"

    async def _rows(self, run_id: int) -> list[MaterializationRecord]:
        return list(await self.store.materializations(run_id))

    async def _history(self, name: str) -> list[MaterializationRecord]:
        return list(await self.store.history(key(name), limit=1000))

    async def _current(self) -> Mapping[str, Current]:
        found, _ = await self.store.current([key(name) for name in NAMES])
        return {it.asset.removeprefix("test."): current for it, current in found.items()}

    def _made_from(self, ids: set[int]) -> set[int]:
        reached, to_follow = set(ids), list(ids)
        while to_follow:
            for id_ in self.loads[to_follow.pop()]:
                if id_ not in reached:
                    reached.add(id_)
                    to_follow.append(id_)
        return reached


def _left(status: RunStatus, finished_at: datetime | None, now: datetime) -> timedelta:
    """Return how long a run is kept from now on."""
    if finished_at is None:
        return 1000 * DAY
    period = POLICY.failed if status is RunStatus.FAILED else POLICY.runs
    assert isinstance(period, timedelta)
    return finished_at + period - now
