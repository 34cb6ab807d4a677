"""
The state machine at work on the memory store's rows, with everything that follows from a step.

Every status is changed in `Machine._move`, by the table of `flowstone.core.status`::

    _settle ─┬─▶ _end ─┬─ with a value:    dependents _arrive, one upstream less
             │         └─ without a value: _cascade, dependents _end in waves
             ├─▶ _park, until `wake` or the deadline
             └─▶ _hand_back, to be claimed anew under the next claim number
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from flowstone.core.contracts.job_queue import FailedAttempt
from flowstone.core.contracts.store import (
    SUSPECT_AFTER,
    Capacity,
    Claim,
    JsonText,
    Key,
    Settlement,
    Turn,
    Wait,
)
from flowstone.core.defaults import memory_awaiting
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.memory_errors import superseded, upstream_ended, worker_died
from flowstone.core.defaults.memory_heads import Heads
from flowstone.core.defaults.memory_rows import Row, RunRow, WorkerRow, wake_from
from flowstone.core.defaults.memory_unique import UniqueKeys
from flowstone.core.status import Event, RunStatus, Status, advance

FOR_DEPENDENTS = {
    Status.FAILED: Event.UPSTREAM_FAILED,
    Status.UPSTREAM_FAILED: Event.UPSTREAM_FAILED,
    Status.CANCELLED: Event.CANCELLED,
    Status.SKIPPED: Event.UPSTREAM_SKIPPED,
}
"""What happens to those that needed a value which will not come; of several causes the first."""

SEVERITY = {status: place for place, status in enumerate(FOR_DEPENDENTS)}


class Machine:
    """
    Runs, their materializations and the queues.

    Callers give the instant at which a step happens. `take_topics` says who has to look again.
    """

    def __init__(self) -> None:
        self.runs: dict[int, RunRow] = {}
        self.rows: dict[int, Row] = {}
        self.dedupes: dict[str, int] = {}
        self.by_key: defaultdict[Key, dict[int, Row]] = defaultdict(dict)
        self.current: dict[Key, Row] = {}
        self.made_from: defaultdict[int, dict[int, Row]] = defaultdict(dict)
        # What pruning goes by, each in the order in which it happened.
        self.ended: dict[int, RunRow] = {}
        self.ended_jobs: dict[int, Row] = {}
        self.superseded: dict[int, Row] = {}
        self.taken: Counter[int] = Counter()
        self.outliving: defaultdict[Key, dict[int, Row]] = defaultdict(dict)
        self.attached: dict[type, AttachedRows[Any]] = {}
        self.unique = UniqueKeys()
        self.heads = Heads()
        self._queued: list[Row] = []
        self._topics: set[str] = set()
        self._moved: set[int] = set()

    def take_topics(self) -> set[str]:
        """Return the topics to publish since the last call: what moved, and what can be claimed."""
        topics, self._topics = self._topics, set()
        topics.update(map("moved:{}".format, self._moved))
        self._moved.clear()
        for row in self._queued:
            if row.status in (Status.READY, Status.WAITING):
                topics.add(f"queue:{row.queue}")
                topics.add(f"run:{row.run.id}")
        self._queued.clear()
        return topics

    def add_run(self, run: RunRow, rows: Sequence[Row], due: datetime | None) -> None:
        """Take in a planned run; what is ready can be claimed from ``due`` on (None: at once)."""
        self.runs[run.id] = run
        if run.dedupe is not None:
            self.dedupes[run.dedupe] = run.id
        self.taken.update(each.materialization_id for each in run.reused)
        run.rows.extend(rows)
        run.open_count = len(rows)
        for row in rows:
            self.rows[row.id] = row
            self.by_key[row.key][row.id] = row
            run.counts[row.status] += 1
            if row.status is Status.READY:
                self._queue(row, due)
        if not rows:
            self._end_run(run, run.created_at)

    def add_job(self, row: Row, due: datetime | None) -> None:
        """Take in a job; it can be claimed from ``due`` on (None: at once)."""
        self.rows[row.id] = row
        row.run.rows.append(row)
        row.run.open_count = 1
        row.run.counts[row.status] += 1
        self.unique.follow(row, row.run.created_at)
        self._queue(row, due)

    def settle(
        self, worker: WorkerRow, settlements: Sequence[Settlement], now: datetime
    ) -> list[int]:
        """
        Settle what the worker still owns and return the ids of the rest.

        Raises:
            ValueError: A wait does not say what for; nothing was settled.
        """
        if any(each.event is Event.WAITED and each.wait is None for each in settlements):
            raise ValueError("a settlement that waits has to say what for")
        refused = []
        without_value = []
        written: dict[Key, int] = {}
        for settlement in settlements:
            row = worker.owned.get(settlement.id)
            if row is None or row.claim != settlement.claim or not settlement.event.settles:
                refused.append(settlement.id)
                continue
            del worker.owned[row.id]
            self._settle(row, settlement, now)
            if row.is_job:
                continue
            if row.status in FOR_DEPENDENTS:
                without_value.append(row)
            elif row.status is Status.SUCCEEDED:
                is_newest = written.get(row.key, 0) < row.id
                self._replace(self.current.get(row.key) if is_newest else row, now)
                if is_newest:
                    written[row.key] = row.id
                    self.current[row.key] = row
        self._cascade(without_value, now)
        return refused

    def claim(self, worker: WorkerRow, capacity: Capacity, now: datetime) -> Turn:
        """Give the worker what is next, up to its capacity and to what queues let through."""
        run = None if capacity.run_id is None else self.runs.get(capacity.run_id)
        taken = self.heads.take(capacity, run, now)
        claims = [self._claim(row, worker, now) for row in taken.rows]
        return Turn(claims=claims, next_due=taken.next_due, held=taken.held)

    def parked(self) -> Iterator[Row]:
        """Return what waits without a deadline."""
        for row in self.rows.values():
            if row.status is Status.WAITING and row.due is None:
                yield row

    def wake(self, row: Row, payload: JsonText) -> bool:
        """End the row's wait, or the one that follows; False when that is done already."""
        content = json.loads(payload)
        if row.status.is_terminal or row.status is Status.PENDING:
            return False
        if row.wait is not None and row.status is Status.WAITING:
            row.wake = wake_from(row.wait, payload=content)
            self._move(row, Event.WOKEN)
            self._queue(row, None)
            return True
        was_woken = row.wake is not None and not row.is_wake_delivered
        if was_woken or row.early_wake is not None:
            return False
        row.early_wake = payload
        return True

    def cancel(self, run: RunRow, now: datetime) -> int:
        """Cancel what has not started, ask for the rest to stop, and return how many were open."""
        was_open = sum(not row.status.is_terminal for row in run.shown)
        run.is_cancel_asked = True
        for row in run.rows:
            if row.status is Status.RUNNING:
                row.is_abort_asked = True
                self._topics.add("abort")
            elif not row.status.is_terminal:
                self._end(row, Event.CANCELLED, now)
        return was_open

    def take_back(self, worker: WorkerRow, now: datetime, *, max_rescues: int | None) -> list[int]:
        """
        Take everything back from a worker that is gone and return the ids.

        Args:
            max_rescues: How often a row survives the loss of its worker; None when the worker has
                left in good order, which is not held against the row.
        """
        taken = list(worker.owned.values())
        worker.owned.clear()
        for row in taken:
            is_charged = (
                max_rescues is not None
                and row.assists is None
                and (row.rescues < SUSPECT_AFTER or row.id == worker.suspect_id)
            )
            row.rescues += is_charged
            if row.is_abort_asked:
                self._end(row, Event.CANCELLED, now)
            elif is_charged and max_rescues is not None and row.rescues > max_rescues:
                row.error = worker_died(row)
                self._end(row, Event.FAILED, now)
            else:
                self._hand_back(row, Event.RESCUED, None, now)
        self._cascade([row for row in taken if row.status in FOR_DEPENDENTS], now)
        return [row.id for row in taken]

    def _settle(self, row: Row, settlement: Settlement, now: datetime) -> None:
        event = settlement.event
        due = None if settlement.delay is None else now + settlement.delay
        row.duration_ms = settlement.duration_ms
        row.error = settlement.error
        if event in (Event.FAILED, Event.RETRIED) and settlement.error is not None:
            row.failed_attempts.append(FailedAttempt(row.attempt, now, settlement.error))
        if event is Event.SUCCEEDED:
            self._store(row, settlement)
            self._end(row, event, now)
            for dependent in self._pending([*row.dependents, *row.optional_dependents]):
                self._arrive(dependent)
            self._begin(row)
        elif row.is_abort_asked and not advance(row.status, event).is_terminal:
            self._end(row, Event.CANCELLED, now)
        elif event is Event.RETRIED:
            self._hand_back(row, event, due, now)
        elif event in (Event.SNOOZED, Event.HANDED_BACK):
            row.attempt -= 1
            self._hand_back(row, event, due, now)
        elif event is Event.WAITED and settlement.wait is not None:
            row.attempt -= 1
            self._park(row, settlement.wait, due, now)
        else:
            self._end(row, event, now)

    def _store(self, row: Row, settlement: Settlement) -> None:
        row.value = settlement.value
        row.io = settlement.io
        row.location = settlement.location
        row.version = settlement.version
        for upstream in row.inputs:
            self.made_from[upstream][row.id] = row

    def _replace(self, row: Row | None, now: datetime) -> None:
        if row is not None:
            row.superseded_at = now
            self.superseded[row.id] = row

    def _park(self, row: Row, wait: Wait, deadline: datetime | None, now: datetime) -> None:
        if self._is_superseded(row, now):
            return
        row.wait, row.wake, row.is_wake_delivered = wait, None, False
        row.claim += 1
        row.due = None
        self._move(row, Event.WAITED)
        self._begin(row)
        self.unique.follow(row, now)
        self._topics.add(f"run:{row.run.id}")
        if row.early_wake is not None:
            payload, row.early_wake = row.early_wake, None
            self.wake(row, payload)
        elif memory_awaiting.is_met(wait.until, self.rows):
            self.wake(row, "null")
        elif deadline is not None:
            self._queue(row, deadline)

    def _begin(self, row: Row) -> None:
        """Let go of what was held until the row had begun."""
        starts, row.starts = row.starts, ()
        for held in self._pending(starts):
            self._arrive(held)

    def _hand_back(self, row: Row, event: Event, due: datetime | None, now: datetime) -> None:
        if self._is_superseded(row, now):
            return
        row.claim += 1
        self._move(row, event)
        self.unique.follow(row, now)
        self._queue(row, due)

    def _is_superseded(self, row: Row, now: datetime) -> bool:
        """End a job that is to be done again, if another has taken its key while it ran."""
        by = self.unique.successor(row, now)
        if by is not None:
            row.error = superseded(by)
            self._end(row, Event.CANCELLED, now)
        return by is not None

    def _end(self, row: Row, event: Event, now: datetime) -> None:
        self._move(row, event)
        self.unique.follow(row, now)
        row.finished_at = now
        row.ticket += 1
        row.wait = row.wake = row.early_wake = None
        if row.is_tolerated and row.assists is None:
            row.run.tolerated[row.status] += 1
        for waiting in (self.rows[id_] for id_ in row.awaited_by):
            until = waiting.wait.until if waiting.wait else None
            if waiting.status is Status.WAITING and memory_awaiting.is_met(until, self.rows):
                self.wake(waiting, "null")
        row.run.open_count -= 1
        if not row.run.open_count:
            self._end_run(row.run, now)

    def _cascade(self, wave: list[Row], now: datetime) -> None:
        """Settle what depends on rows that ended without a value: wave by wave, only what pends."""
        while wave:
            wave.sort(key=lambda row: SEVERITY[row.status])
            for row in wave:
                for dependent in self._pending(row.optional_dependents):
                    dependent.inputs = [id_ for id_ in dependent.inputs if id_ != row.id]
                    dependent.follows.append(row.id)  # it only came first
                    self._arrive(dependent)
            reached = []
            for row in wave:
                for dependent in self._pending([*row.dependents, *row.starts]):
                    dependent.error = upstream_ended(row)
                    self._end(dependent, FOR_DEPENDENTS[row.status], now)
                    reached.append(dependent)
            wave = reached

    def _pending(self, ids: Sequence[int]) -> Iterator[Row]:
        for id_ in ids:
            row = self.rows[id_]
            if row.status is Status.PENDING:
                yield row

    def _arrive(self, row: Row) -> None:
        row.unmet -= 1
        if row.unmet == 0:
            self._move(row, Event.DEPS_MET)
            self._queue(row, None)

    def _end_run(self, run: RunRow, now: datetime) -> None:
        counts = run.counts - run.tolerated
        if counts[Status.FAILED] or counts[Status.UPSTREAM_FAILED]:
            run.status = RunStatus.FAILED
        elif counts[Status.CANCELLED]:
            run.status = RunStatus.CANCELLED
        else:
            run.status = RunStatus.SUCCEEDED
        run.finished_at = now
        run.jobs = None
        if run.rows and run.rows[0].is_job:
            self.ended_jobs[run.rows[0].id] = run.rows[0]
            self._topics.add(f"job:{run.rows[0].id}")
            return
        self.ended[run.id] = run
        self._topics.add(f"run:{run.id}")

    def _queue(self, row: Row, due: datetime | None) -> None:
        row.ticket += 1
        self.heads.add(row, due)
        row.due = due
        self._queued.append(row)

    def _claim(self, row: Row, worker: WorkerRow, now: datetime) -> Claim:
        if row.wait is not None and row.status is Status.WAITING:
            row.wake = wake_from(row.wait, timed_out=True)
        self._move(row, Event.CLAIMED)
        self.unique.follow(row, now)
        row.ticket += 1
        row.attempt += 1
        row.started_at = now
        row.is_wake_delivered = row.wake is not None
        memory_awaiting.take_in(row, self.rows)
        worker.owned[row.id] = row
        return Claim(
            id=row.id,
            claim=row.claim,
            run_id=None if row.is_job else row.run.id,
            asset=row.key.asset,
            partition=row.partition,
            attempt=row.attempt,
            inputs=[self.rows[id_].as_input() for id_ in row.inputs],
            options=row.run.options,
            wake=row.wake,
            queue=row.queue,
            rescues=row.rescues,
            arguments=row.arguments if row.assists is None else row.assist_arguments,
            assists=None if row.assists is None else row.assists.id,
        )

    def _move(self, row: Row, event: Event) -> None:
        status = advance(row.status, event)
        if row.assists is None:
            row.run.counts[row.status] -= 1
            row.run.counts[status] += 1
        row.run.moves += 1
        row.moved = row.run.moves
        if Status.RUNNING in (row.status, status):
            self.heads.admission.running[row.queue] += 1 if status is Status.RUNNING else -1
        row.status = status
        self._moved.add(row.run.id)
