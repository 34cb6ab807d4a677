"""The queues of the memory store: what can be claimed next, from queues or from one run."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flowstone.core.contracts.store import Capacity
from flowstone.core.defaults.memory_admission import LOOK_AGAIN, Admission
from flowstone.core.defaults.memory_jobs import Jobs
from flowstone.core.defaults.memory_keyed import Keyed
from flowstone.core.defaults.memory_rows import Row, RunRow
from flowstone.core.status import Status


@dataclass(slots=True)
class Taken:
    """What a capacity got, and when to look again: at the next timed job, at a limit's room."""

    rows: list[Row] = field(default_factory=list)
    next_due: timedelta | None = None
    held: timedelta | None = None


class Heads:
    """Two heads for each queue, as on Postgres; see `Jobs`."""

    def __init__(self) -> None:
        self.admission = Admission()
        self._queues: defaultdict[str, Jobs[Row]] = defaultdict(Jobs)
        self._keyed: dict[str, Keyed] = {}

    def add(self, row: Row, due: datetime | None) -> None:
        """Queue a row under its present ticket."""
        if row.limit_key is not None or row.lane is not None:
            if row.queue not in self._keyed:
                self._keyed[row.queue] = Keyed(row.queue, self.admission)
            self._keyed[row.queue].add(row, due)
            return
        self._queues[row.queue].add(row, due)
        if row.run.jobs is not None:
            row.run.jobs.add(row, due)

    def has_due(self, queue: str, now: datetime) -> bool:
        """Return whether a queue has something that is due."""
        return (queue in self._queues and self._queues[queue].has_due(now)) or (
            queue in self._keyed and self._keyed[queue].has_due(now)
        )

    def waiting(self) -> Iterator[Row]:
        """Return all that waits, of all queues."""
        for jobs in self._queues.values():
            yield from jobs
        for keyed in self._keyed.values():
            yield from keyed

    def take(self, capacity: Capacity, run: RunRow | None, now: datetime) -> Taken:
        """Remove and return what is next, up to the capacity; of a run, what is its own."""
        if capacity.run_id is None:
            return self._take_of_queues(capacity, now)
        if run is None or run.status.is_terminal or capacity.slots <= 0:
            return Taken()
        return self._take_of_run(run, capacity.slots, now)

    def _take_of_queues(self, capacity: Capacity, now: datetime) -> Taken:
        taken = Taken()
        dues, held = [], {}
        for queue, slots in capacity.queues.items():
            if slots <= 0:
                continue
            room, wait = self.admission.room(queue, slots, now)
            waits = [] if wait is None else [wait]
            if room > 0:
                rows, wait = self._take_of_queue(queue, room, now)
                waits += [] if wait is None else [wait]
                taken.rows += rows
                self.admission.use(rows, now)
                dues += [self._queues[queue].next_due()] if queue in self._queues else []
                dues += [self._keyed[queue].next_due(now)] if queue in self._keyed else []
            if waits:
                held[queue] = min(waits)
        self._look_again(taken, dues, held, now)
        return taken

    def _take_of_queue(
        self, queue: str, room: int, now: datetime
    ) -> tuple[list[Row], timedelta | None]:
        """Where there are both, those with a key or a lane have half, and what the others leave."""
        plain = self._queues[queue] if queue in self._queues else Jobs()
        if queue not in self._keyed:
            return list(plain.take_several(room, now)), None
        keyed = self._keyed[queue]
        rows, wait = keyed.take(room, now)
        others = list(plain.take_several(room - min(len(rows), (room + 1) // 2), now))
        kept = room - len(others)
        keyed.give_back(rows[kept:])
        return [*rows[:kept], *others], wait

    def _take_of_run(self, run: RunRow, slots: int, now: datetime) -> Taken:
        jobs = run.jobs or _jobs_of(run)
        taken, closed = Taken(), []
        rooms: dict[str, int] = {}
        held: dict[str, timedelta] = {}
        while len(taken.rows) < slots and (row := jobs.take(now)) is not None:
            if row.queue not in rooms:
                rooms[row.queue], wait = self.admission.room(row.queue, slots, now)
                if wait is not None:
                    held[row.queue] = wait
            if rooms[row.queue] > 0:
                rooms[row.queue] -= 1
                taken.rows.append(row)
                self.admission.use([row], now)
            else:
                closed.append(row)
        for row in closed:
            jobs.add(row, row.due)
        due = jobs.next_due()
        if closed and due is not None:
            due = max(due, now + LOOK_AGAIN)
        self._look_again(taken, [due], held, now)
        return taken

    def _look_again(
        self,
        taken: Taken,
        dues: list[datetime | None],
        held: dict[str, timedelta],
        now: datetime,
    ) -> None:
        due = min((it for it in dues if it is not None), default=None)
        if not taken.rows and due is not None:
            taken.next_due = due - now
        waits = (wait for queue, wait in held.items() if self.has_due(queue, now))
        taken.held = min(waits, default=None)


def _jobs_of(run: RunRow) -> Jobs[Row]:
    """Begin to keep the run's jobs apart, now that a worker asks for this run only."""
    run.jobs = Jobs()
    for row in run.rows:
        if row.status is Status.READY or (row.status is Status.WAITING and row.due):
            run.jobs.add(row, row.due)
    return run.jobs
