"""
The store of an application without a database: everything lives in this process, in these objects.

Made for one event loop: no method awaits anything, so each is one atomic step.
"""

import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from heapq import nlargest
from itertools import islice
from typing import Any, ClassVar, TypeVar

from flowstone.core.contracts.health import Finding, Level
from flowstone.core.contracts.store import (
    Capacity,
    CreatedRun,
    Current,
    JsonText,
    Key,
    MaterializationRecord,
    NewRun,
    PlannedStep,
    Progress,
    Prunable,
    Pruned,
    Rescued,
    Reused,
    RunRecord,
    Settlement,
    Store,
    StoredInput,
    Turn,
    WorkerInfo,
    WorkerLostError,
)
from flowstone.core.defaults import memory_pruning
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.clock import Clock, SystemClock
from flowstone.core.defaults.memory_assistants import MemoryAssistants
from flowstone.core.defaults.memory_job_machine import JobMachine
from flowstone.core.defaults.memory_job_queue import refuse_connection
from flowstone.core.defaults.memory_limits import MemoryLimits
from flowstone.core.defaults.memory_queues import MemoryQueues
from flowstone.core.defaults.memory_rows import Row, RunRow, WorkerRow
from flowstone.core.defaults.memory_schedules import MemorySchedules
from flowstone.core.defaults.memory_waiters import MemoryAwaiting
from flowstone.core.errors import RunNotFoundError
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus, Status

A = TypeVar("A", bound=AttachedRows[Any])

KEPT_RUNS = 10_000


class MemoryStore(
    MemoryAwaiting, MemorySchedules, MemoryQueues, MemoryLimits, MemoryAssistants, Store
):
    """
    Keeps runs in memory; other processes see nothing of them.

    Args:
        clock: Tells the time; a test that owns it can let days pass.
        keep: Of the runs that have ended the newest so many are kept (and a quarter more, so that
            it is not done for each), whatever their age: memory must not grow with their number.
    """

    contract_version: ClassVar[str] = "1.0.0"
    is_durable: ClassVar[bool] = False

    def __init__(self, clock: Clock | None = None, *, keep: int = KEPT_RUNS) -> None:
        super().__init__()
        self._keep = keep
        self._clock = clock or SystemClock()
        self._machine = JobMachine()
        self._workers: dict[int, WorkerRow] = {}
        self._beating: list[Callable[[], int]] = []
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._last_run_id = 0
        self._last_id = 0
        self._origin = os.urandom(5).hex()
        self._last_worker_id = 0
        self._limits = {}
        self._last_slot_id = 0

    @property
    def clock(self) -> Clock:
        """What tells the time here."""
        return self._clock

    def attached(self, kind: type[A]) -> A:
        """Return what a plugin keeps beside the runs: one object of each such class."""
        found = self._machine.attached.get(kind)
        if not isinstance(found, kind):
            found = self._machine.attached[kind] = kind()
        return found

    def row(self, materialization_id: int) -> Row | None:
        """Return a materialization as it is kept here, for coordinators in memory, to be read."""
        return self._machine.rows.get(materialization_id)

    async def open(self) -> None:
        """Nothing has to be made ready."""

    async def close(self) -> None:
        """Nothing has to be given back; what is stored can still be read."""

    async def examine(self) -> Sequence[Finding]:
        """Say how many workers there are; all else is as well as this process."""
        message = f"in memory; {len(self._workers)} workers, {len(self._machine.runs)} runs"
        return [Finding("store", Level.OK, message)]

    async def current(
        self, keys: Sequence[Key], *, reserve: int = 0, conn: object = None
    ) -> tuple[Mapping[Key, Current], Sequence[int]]:
        refuse_connection(conn)
        rows = {key: self._machine.current.get(key) for key in keys}
        reserved = range(self._last_id + 1, self._last_id + 1 + reserve)
        self._last_id += reserve
        return {key: row.current() for key, row in rows.items() if row is not None}, reserved

    async def create_run(self, run: NewRun, *, conn: object = None) -> CreatedRun:
        refuse_connection(conn)
        earlier = None if run.dedupe is None else self._machine.dedupes.get(run.dedupe)
        if earlier is not None:
            return CreatedRun(earlier, created=False)
        self._prune_surplus()
        self._last_run_id += 1
        row = RunRow(
            id=self._last_run_id,
            targets=tuple(run.targets),
            options=run.options,
            reused=tuple(run.reused),
            retry_of=run.retry_of,
            created_at=self._clock.now(),
            dedupe=run.dedupe,
        )
        self._machine.add_run(row, [_planned(row, step) for step in run.steps], run.at)
        self._publish()
        return CreatedRun(row.id, created=True)

    async def invalidate(
        self, keys: Sequence[Key], *, downstream: bool, io: str | None = None
    ) -> int:
        current = self._machine.current
        given = [row for key in keys if (row := current.get(key)) is not None]
        stale = {row.id: row for row in given if io is None or (row.io or "") == io}
        if downstream:
            to_follow = deque(stale)
            while to_follow:
                for row in self._machine.made_from.get(to_follow.popleft(), {}).values():
                    if row.id not in stale:
                        stale[row.id] = row
                        to_follow.append(row.id)
        count = 0
        for row in stale.values():
            if current[row.key] is row and not row.is_invalidated:
                row.is_invalidated = True
                count += 1
        return count

    async def register_worker(self, info: WorkerInfo) -> int:
        await self.declare_queues(info.limits)
        self._last_worker_id += 1
        now = self._clock.now()
        self._workers[self._last_worker_id] = WorkerRow(self._last_worker_id, info, now, now)
        return self._last_worker_id

    async def unregister_worker(self, worker_id: int) -> None:
        worker = self._workers.pop(worker_id, None)
        if worker is not None:
            self._machine.take_back(worker, self._clock.now(), max_rescues=None)
            self._publish()

    async def heartbeat(self, worker_id: int) -> bool:
        worker = self._workers.get(worker_id)
        if worker is None:
            return False
        worker.beaten_at = self._clock.now()
        return True

    @asynccontextmanager
    async def beating(self, worker_id: Callable[[], int], every: timedelta) -> AsyncIterator[None]:
        """
        Let the worker live for as long as the block runs.

        No beats are counted meanwhile: who could take over shares the event loop with the worker,
        and a body that blocks it for longer than a lease would otherwise lose its own work.
        """
        self._beating.append(worker_id)
        try:
            yield
        finally:
            self._beating.remove(worker_id)
            await self.heartbeat(worker_id())

    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        worker = self._workers.get(worker_id)
        if worker is None:
            raise WorkerLostError
        now = self._clock.now()
        refused = self._machine.settle(worker, settlements, now)
        turn = self._machine.claim(worker, capacity, now)
        turn.refused = refused
        self._publish()
        return turn

    async def rescue(self, *, max_rescues: int, rescuer: int | None = None) -> Sequence[Rescued]:
        now = self._clock.now()
        living = {rescuer, *(worker_id() for worker_id in self._beating)}
        rescued = []
        for worker in list(self._workers.values()):
            if worker.id in living or now - worker.beaten_at < worker.info.lease:
                continue
            del self._workers[worker.id]
            taken = self._machine.take_back(worker, now, max_rescues=max_rescues)
            if taken:
                rescued.append(Rescued(worker.id, taken))
        self._publish()
        return rescued

    def lapse(self, worker_id: int) -> None:
        """End the worker's lease now, as if it had not beaten for so long."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.beaten_at = self._clock.now() - worker.info.lease

    async def suspect(self, worker_id: int, materialization_id: int) -> None:
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.suspect_id = materialization_id

    async def owned(self, worker_id: int) -> Sequence[tuple[int, int]]:
        worker = self._workers.get(worker_id)
        return [] if worker is None else [(row.id, row.claim) for row in worker.owned.values()]

    async def aborts(self, worker_id: int) -> Sequence[int]:
        worker = self._workers.get(worker_id)
        owned = () if worker is None else worker.owned.values()
        return [row.id for row in owned if row.is_abort_asked]

    async def hold_lease(self, name: str, holder: str, duration: timedelta) -> bool:
        now = self._clock.now()
        other, until = self._leases.get(name, (holder, now))
        if other != holder and until > now:
            return False
        self._leases[name] = (holder, now + duration)
        return True

    async def give_up_lease(self, name: str, holder: str) -> None:
        if self._leases.get(name, ("", None))[0] == holder:
            del self._leases[name]

    async def prune(self, retention: Retention, *, limit: int = 1000) -> Pruned:
        return memory_pruning.prune(self._machine, retention, self._clock.now(), limit)

    async def prunable(self, retention: Retention) -> Prunable:
        now = self._clock.now()
        runs = memory_pruning.expired(self._machine, retention, now)
        jobs = memory_pruning.expired_jobs(self._machine, retention, now)
        items = memory_pruning.count_items(self._machine, retention, now)
        return Prunable(Counter(run.status for run in runs), sum(1 for _ in jobs), items)

    def _prune_surplus(self) -> None:
        """Keep memory bounded where no worker lives long enough to prune by age."""
        ended = self._machine.ended
        if len(ended) > 1.25 * self._keep:
            surplus = list(islice(ended.values(), len(ended) - self._keep))
            now = self._clock.now()
            memory_pruning.delete(self._machine, surplus, now, replaced_before=now)

    async def wake(self, materialization_id: int, payload: JsonText) -> bool:
        row = self._machine.rows.get(materialization_id)
        if row is None:
            return False
        is_awake = self._machine.wake(row, payload)
        self._publish()
        return is_awake

    def status_of(self, materialization_id: int) -> Status | None:
        """Return where a materialization stands; None when there is none, or it was pruned."""
        row = self._machine.rows.get(materialization_id)
        return None if row is None else row.status

    async def cancel_run(self, run_id: int) -> int:
        was_open = self._machine.cancel(self._run(run_id), self._clock.now())
        self._publish()
        return was_open

    async def origin(self) -> str:
        """Return a name that no other store in memory has."""
        return self._origin

    async def kept(self, attempts: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        return {(id_, claim) for id_, claim in attempts if self._is_kept(id_, claim)}

    def _is_kept(self, id_: int, claim: int) -> bool:
        row = self._machine.rows.get(id_)
        if row is None:
            return id_ > self._last_id
        has_value = row.status is Status.SUCCEEDED and row.location is not None
        return row.claim == claim and (row.status is Status.RUNNING or has_value)

    async def values(self, materialization_ids: Sequence[int]) -> Mapping[int, JsonText]:
        rows = (self._machine.rows.get(id_) for id_ in materialization_ids)
        return {row.id: row.value for row in rows if row is not None and row.value is not None}

    async def run(self, run_id: int) -> RunRecord:
        return self._run(run_id).record()

    async def runs(
        self, *, status: RunStatus | None = None, limit: int = 20, before: int | None = None
    ) -> Sequence[RunRecord]:
        wanted = (
            run
            for run in reversed(self._machine.runs.values())
            if (before is None or run.id < before) and (status is None or run.status is status)
        )
        return [run.record() for run in islice(wanted, limit)]

    async def materializations(self, run_id: int) -> Sequence[MaterializationRecord]:
        run = self._machine.runs.get(run_id)
        return [] if run is None else [row.record() for row in run.shown]

    async def progress(self, run_id: int, *, since: str | None = None) -> Progress:
        run = self._run(run_id)
        seen = -1 if since is None else int(since)
        changed = [row.record() for row in run.shown if row.moved > seen]
        now = self._clock.now()
        return Progress(run.status, run.created_at, run.finished_at, changed, str(run.moves), now)

    async def reused(self, run_id: int) -> Sequence[Reused]:
        run = self._machine.runs.get(run_id)
        return () if run is None else run.reused

    async def outputs(self, run_id: int, keys: Sequence[Key]) -> Mapping[Key, StoredInput]:
        run = self._machine.runs.get(run_id)
        if run is None:
            return {}
        reused = (self._machine.rows[each.materialization_id] for each in run.reused)
        computed = (row for row in run.rows if row.status is Status.SUCCEEDED)
        wanted = set(keys)
        return {row.key: row.as_input() for row in (*reused, *computed) if row.key in wanted}

    async def history(self, key: Key, *, limit: int = 20) -> Sequence[MaterializationRecord]:
        rows = nlargest(limit, self._machine.by_key.get(key, {}).values(), key=lambda row: row.id)
        return [row.record() for row in rows]

    async def lineage(self, key: Key) -> tuple[Sequence[Key], Sequence[Key]]:
        current = self._machine.current
        row = current.get(key)
        if row is None:
            return (), ()
        made_from_it = self._machine.made_from.get(row.id, {}).values()
        upstream = {self._machine.rows[id_].key for id_ in row.inputs}
        downstream = {made.key for made in made_from_it if current[made.key] is made}
        return sorted(upstream), sorted(downstream)

    def _run(self, run_id: int) -> RunRow:
        run = self._machine.runs.get(run_id)
        if run is None:
            raise RunNotFoundError(run_id)
        return run

    def _publish(self) -> None:
        for topic in self._machine.take_topics():
            self.wakeups.publish(topic)


def _planned(run: RunRow, step: PlannedStep) -> Row:
    return Row(
        id=step.id,
        run=run,
        key=step.key,
        queue=step.queue,
        priority=step.priority,
        reason=step.reason,
        status=Status.PENDING if step.unmet else Status.READY,
        unmet=step.unmet,
        inputs=list(step.inputs),
        follows=list(step.follows),
        dependents=tuple(step.dependents),
        optional_dependents=tuple(step.optional_dependents),
        awaits=tuple(step.awaits),
        awaited_by=tuple(step.awaited_by),
        starts=tuple(step.starts),
        is_tolerated=step.is_tolerated,
    )
