"""
How long what has ended is kept.

Never pruned, however old: an asset's current values and their materializations, what they were made
from (without its value), runs that are open and all that they will load. See docs/operating.md.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import TypeAlias

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError

Period: TypeAlias = timedelta | str | float | None

JobPeriods: TypeAlias = tuple[str | None, timedelta | None, timedelta | None]
"""A queue (None: all without their own), and how long its jobs and its failed jobs stay."""

SHORTEST = timedelta(hours=1)
"""Whoever plans a run on what is current has this long to commit it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How long finished work is kept; None is for ever.

    Args:
        runs: A run, from its end, with all that only it holds: materializations, values, lineage,
            jobs and their events. For as long a repeat of its ``dedupe`` finds it.
        failed: The same, of a run that failed.
        values: A value, from when it was replaced as its asset's current one and its run has
            ended; at the latest it goes with its run. What an IO manager holds is then swept as an
            orphan.
        items: What plugins keep of the many small things that a value was made from, from the end
            of the run: the items of a fan-out with their results. At the latest they go with it.
        jobs: A job, from its end, with its arguments, result and failed attempts.
        failed_jobs: The same, of a job that failed.
        queues: Other periods for the jobs of some queues: one for all that have ended, or a pair,
            ``jobs`` and ``failed_jobs``.

    Raises:
        InvalidOptionError: A period is not a duration, or shorter than an hour.
    """

    runs: Period = timedelta(days=30)
    _: KW_ONLY
    failed: Period = timedelta(days=90)
    values: Period = timedelta(days=7)
    items: Period = timedelta(days=30)
    jobs: Period = timedelta(days=7)
    failed_jobs: Period = timedelta(days=30)
    queues: Mapping[str, Period | tuple[Period, Period]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("runs", "failed", "values", "items", "jobs", "failed_jobs"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
        queues = {queue: _pair(queue, periods) for queue, periods in dict(self.queues).items()}
        object.__setattr__(self, "queues", queues)

    @property
    def milliseconds(self) -> tuple[int | None, int | None, int | None, int | None]:
        """The periods ``(runs, failed, values, items)`` in whole milliseconds."""
        runs, failed = _milliseconds(self.runs), _milliseconds(self.failed)
        return runs, failed, _milliseconds(self.values), _milliseconds(self.items)

    @property
    def of_jobs(self) -> list[JobPeriods]:
        """The periods of jobs, those of all queues without their own first."""
        own = [(queue, *_pair(queue, periods)) for queue, periods in self.queues.items()]
        return [(None, _parsed(self.jobs), _parsed(self.failed_jobs)), *own]

    def of_queue(self, queue: str) -> tuple[timedelta | None, timedelta | None]:
        """Return how long jobs of this queue are kept, and those that failed."""
        if queue in self.queues:
            return _pair(queue, self.queues[queue])
        return _parsed(self.jobs), _parsed(self.failed_jobs)


def checked(retention: object) -> Retention:
    """Return the policy, or refuse what is none."""
    if not isinstance(retention, Retention):
        raise InvalidOptionError(
            f"retention={retention!r} is no policy; write Retention('30d'), Retention('30d', "
            "failed='90d', values='7d', items='30d', jobs='7d', failed_jobs='30d'), or None to "
            "keep everything"
        )
    return retention


def _checked(name: str, period: Period) -> timedelta | None:
    if period is None:
        return None
    checked = duration.parse(period, option=name)
    if checked < SHORTEST:
        raise InvalidOptionError(
            f"{name}={period!r} is too short to keep anything: an hour is the least; write '1h', "
            "or None to keep it for ever"
        )
    return checked


def _pair(
    queue: str, periods: Period | tuple[Period, Period]
) -> tuple[timedelta | None, timedelta | None]:
    name = f"queues[{queue!r}]"
    if not isinstance(periods, tuple):
        periods = (periods, periods)
    if len(periods) != 2 or not isinstance(queue, str) or not queue:
        raise InvalidOptionError(
            f"{name}={periods!r}: a queue's name has one period, or those of jobs and of failed "
            "jobs; write queues={'mail': '1h'} or queues={'mail': ('1h', '7d')}"
        )
    return _checked(name, periods[0]), _checked(name, periods[1])


def _parsed(period: Period) -> timedelta | None:
    return None if period is None else duration.parse(period)


def _milliseconds(period: Period) -> int | None:
    return None if period is None else duration.parse(period) // timedelta(milliseconds=1)


DEFAULT_RETENTION = Retention()
"""What an application without ``retention=`` has."""
