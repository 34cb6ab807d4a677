"""What can be claimed from one queue, or from one run: two heads, as on Postgres."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

COMPACT_AT_LEAST = 1024
"""Fewer entries than this are never swept."""


class Job(Protocol):
    """What a queue needs to know of a row."""

    @property
    def id(self) -> int:
        """Breaks ties: the smaller goes first."""

    @property
    def priority(self) -> int:
        """The higher goes first."""

    @property
    def ticket(self) -> int:
        """Grows when the row leaves this queue by another way than `Jobs.take`."""


J = TypeVar("J", bound=Job)


class Jobs(Generic[J]):
    """
    Jobs in the order in which they are claimed: timed ones that are due, then the immediate ones.

    A job that was claimed through another queue, or ended, leaves a void entry behind. Void entries
    are dropped when they reach the head, and swept when a head has doubled since the last sweep,
    so that adding and taking cost O(log n).
    """

    def __init__(self) -> None:
        self._immediate: list[tuple[int, int, int, J]] = []
        self._timed: list[tuple[datetime, int, int, J]] = []
        self._sweep_at = COMPACT_AT_LEAST

    def add(self, job: J, due: datetime | None) -> None:
        """Queue a job under its present ticket; ``due`` is when it can be taken, None is now."""
        if due is None:
            heappush(self._immediate, (-job.priority, job.id, job.ticket, job))
        else:
            heappush(self._timed, (due, job.id, job.ticket, job))
        if len(self._immediate) + len(self._timed) > self._sweep_at:
            self._sweep()

    def take(self, now: datetime) -> J | None:
        """Remove and return the job that is next; None when there is none at this instant."""
        job = self._take_timed(now)
        return self._take_immediate() if job is None else job

    def take_several(self, count: int, now: datetime) -> Iterator[J]:
        """
        Remove and return the jobs that are next, at most so many.

        However much of what is timed is due, it leaves one of two places to the others, or one in
        four of more.
        """
        left = count
        for room, take in (
            (count - (count + 2) // 4, partial(self._take_timed, now)),
            (count, self._take_immediate),
            (count, partial(self._take_timed, now)),
        ):
            for _ in range(min(room, left)):
                job = take()
                if job is None:
                    break
                left -= 1
                yield job

    def next_due(self) -> datetime | None:
        """Return when the first timed job can be taken; None when no job is timed."""
        while self._timed:
            due, _, ticket, job = self._timed[0]
            if job.ticket == ticket:
                return due
            heappop(self._timed)
        return None

    def promote(self, now: datetime) -> None:
        """Give what was timed and is due its place among the others."""
        while self._timed and self._timed[0][0] <= now:
            *_, ticket, job = heappop(self._timed)
            if job.ticket == ticket:
                self.add(job, None)

    def has_due(self, now: datetime) -> bool:
        """Return whether `take` would give a job."""
        due = self.next_due()
        if due is not None and due <= now:
            return True
        while self._immediate:
            *_, ticket, job = self._immediate[0]
            if job.ticket == ticket:
                return True
            heappop(self._immediate)
        return False

    def __iter__(self) -> Iterator[J]:
        for *_, ticket, job in (*self._immediate, *self._timed):
            if job.ticket == ticket:
                yield job

    def _take_timed(self, now: datetime) -> J | None:
        while self._timed and self._timed[0][0] <= now:
            *_, ticket, job = heappop(self._timed)
            if job.ticket == ticket:
                return job
        return None

    def _take_immediate(self) -> J | None:
        while self._immediate:
            *_, ticket, job = heappop(self._immediate)
            if job.ticket == ticket:
                return job
        return None

    def _sweep(self) -> None:
        self._immediate = [entry for entry in self._immediate if entry[3].ticket == entry[2]]
        self._timed = [entry for entry in self._timed if entry[3].ticket == entry[2]]
        heapify(self._immediate)
        heapify(self._timed)
        self._sweep_at = max(COMPACT_AT_LEAST, 2 * (len(self._immediate) + len(self._timed)))
