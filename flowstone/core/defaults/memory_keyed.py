"""Jobs with a limit's key or a serial lane, in one queue of the memory store."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from flowstone.core.defaults.memory_admission import LOOK_AGAIN, Admission
from flowstone.core.defaults.memory_jobs import Jobs
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.status import Status

Pair = tuple[str, str]


class Keyed:
    """
    Served in turn by (key, lane), from where the last one stopped; as on Postgres.

    Rows that left by another way than `take` are dropped when they are met.
    """

    def __init__(self, queue: str, admission: Admission) -> None:
        self._queue = queue
        self._admission = admission
        self._jobs: dict[Pair, Jobs[Row]] = {}
        self._running: dict[int, Row] = {}
        self._begun: dict[int, Row] = {}
        self._cursor: Pair = ("", "")

    def add(self, row: Row, due: datetime | None) -> None:
        """Queue a row under its present ticket; who has begun keeps its lane meanwhile."""
        self._jobs.setdefault(_pair(row), Jobs()).add(row, due)
        if due is not None and row.claim > 0:
            self._begun[row.id] = row

    def __iter__(self) -> Iterator[Row]:
        for jobs in self._jobs.values():
            yield from jobs

    def has_due(self, now: datetime) -> bool:
        """Return whether something is due, let through or not."""
        return any(jobs.has_due(now) for jobs in self._jobs.values())

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the next timed one is due; what is due by now takes its place first."""
        self._promote(now)
        dues = (jobs.next_due() for jobs in self._jobs.values())
        return min((it for it in dues if it is not None), default=None)

    def take(self, slots: int, now: datetime) -> tuple[list[Row], timedelta | None]:
        """Remove and return what is next, and when to look again for what is held back."""
        self._promote(now)
        self._running = {
            id_: row for id_, row in self._running.items() if row.status is Status.RUNNING
        }
        lanes = {row.lane for row in self._running.values() if row.lane}
        begun = {row.lane for row in self._begun.values() if row.lane}
        counts = Counter(row.limit_key for row in self._running.values())
        rooms: dict[str, int] = {}
        rows: list[Row] = []
        waits: list[timedelta] = []
        pairs = sorted(self._jobs)
        start = next((at for at, it in enumerate(pairs) if it > self._cursor), 0)
        has_found = True
        while has_found and len(rows) < slots:
            has_found = False
            for pair in (*pairs[start:], *pairs[:start]):
                if len(rows) >= slots:
                    break
                if not self._jobs[pair].has_due(now):
                    continue
                key, lane = self._cursor = pair
                if key not in rooms:
                    rooms[key], wait = self._room(key, counts[key], slots, now)
                    waits += [] if wait is None else [wait]
                if lane in begun:
                    continue
                if rooms[key] <= 0:
                    waits = waits or [LOOK_AGAIN]
                    continue
                if lane in lanes:
                    waits.append(LOOK_AGAIN)
                    continue
                share = 1 if lane else min(rooms[key], slots - len(rows), max(1, slots // 8))
                taken = list(self._jobs[pair].take_several(share, now))
                rows += taken
                rooms[key] -= len(taken)
                has_found = has_found or bool(taken)
                if lane:
                    lanes.add(lane)
        self._running |= {row.id: row for row in rows}
        self._jobs = {pair: jobs for pair, jobs in self._jobs.items() if any(True for _ in jobs)}
        return rows, min(waits, default=None)

    def give_back(self, rows: Sequence[Row]) -> None:
        """Queue again what was taken and not used."""
        for row in rows:
            del self._running[row.id]
            self.add(row, None)

    def _room(
        self, key: str, running: int, slots: int, now: datetime
    ) -> tuple[int, timedelta | None]:
        if not key:
            return slots, None
        return self._admission.room_of_key(self._queue, key, running, slots, now)

    def _promote(self, now: datetime) -> None:
        for row in list(self._begun.values()):
            is_timed = row.status is Status.READY and row.due is not None and row.due > now
            if not is_timed:
                del self._begun[row.id]
        for jobs in self._jobs.values():
            jobs.promote(now)


def _pair(row: Row) -> Pair:
    return (row.limit_key or "", row.lane or "")
