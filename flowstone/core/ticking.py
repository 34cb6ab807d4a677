"""
Which ticks of a schedule are enqueued now, and when the next one is.

The newest tick whose time has come is always the one that counts; those before it were missed, as
nobody was there to enqueue them. By the schedule's policy:

======== =========================================================================================
``one``  the newest, however late it is: any number of missed ticks is made up for by one job
``all``  each of them, the newest `MOST_MADE_UP` at the most
``skip`` the newest, if it is not older than `STILL_FRESH`; what was missed stays so
======== =========================================================================================
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from flowstone.core.contracts.schedule_store import Advance, DueSchedule

Ticks = Callable[[str, str, datetime], Iterator[datetime]]
"""As `CronParser.ticks`."""

MOST_MADE_UP = 100

STILL_FRESH = timedelta(minutes=1)
"""A tick this late is on time: a leader that dies is replaced in half of it."""

FIRST_LOOK_BACK = timedelta(minutes=10)


def advance(schedule: DueSchedule, now: datetime, ticks: Ticks) -> Advance:
    """
    Return what to enqueue of a schedule that is due, and its next tick.

    Raises:
        InvalidOptionError: Its cron expression or time zone cannot be read.
    """
    most = MOST_MADE_UP if schedule.missed == "all" else 1
    newest = _newest(schedule, now, ticks, most)
    if schedule.missed == "skip" and now - newest[-1] > STILL_FRESH:
        newest = []
    return Advance(schedule, newest, next(ticks(schedule.cron, schedule.timezone, now), None))


def _newest(schedule: DueSchedule, now: datetime, ticks: Ticks, most: int) -> Sequence[datetime]:
    """
    Return the newest of the ticks that are due.

    It looks back further and further: one by one from the first, a schedule of seconds that lay
    for a year would take minutes.
    """
    look_back = FIRST_LOOK_BACK
    while True:
        begin = max(schedule.next_at, now - look_back)
        later = takewhile(lambda tick: tick <= now, ticks(schedule.cron, schedule.timezone, begin))
        found = deque(later, most)
        if begin == schedule.next_at and len(found) < most:
            found.appendleft(schedule.next_at)
        if begin == schedule.next_at or len(found) == most:
            return list(found)
        look_back *= 8
