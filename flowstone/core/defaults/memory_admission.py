"""What queues let through in the memory store: pauses, and limits that are counted from rows."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from flowstone.core.contracts.queues import QueueLimits
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.rate import Rate

NO_LIMITS = QueueLimits()

LOOK_AGAIN = timedelta(seconds=1)
"""Whoever makes room claims it himself, as a rule."""


@dataclass(slots=True)
class Settings:
    """What was said about one queue; see `Queues`."""

    paused_at: datetime | None = None
    slots: int | None = None
    limits: QueueLimits = NO_LIMITS
    limits_from: Literal["code", "hand"] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing any longer."""
        return self.paused_at is None and self.slots is None and self.limits_from is None


class Admission:
    """
    The gate of all queues.

    Attributes:
        settings: By queue; one without has none.
        running: How many run, by queue.
    """

    def __init__(self) -> None:
        self.settings: dict[str, Settings] = {}
        self.running: Counter[str] = Counter()
        self._uses: defaultdict[tuple[str, str], deque[datetime]] = defaultdict(deque)

    def room(self, queue: str, slots: int, now: datetime) -> tuple[int, timedelta | None]:
        """Return how many of the slots may be used, and when to look again for the others."""
        settings = self.settings.get(queue)
        if settings is None:
            return slots, None
        if settings.paused_at is not None:
            return 0, None
        room, waits = slots, []
        most = settings.limits.max_running
        if most is not None and most - self.running[queue] < room:
            room = most - self.running[queue]
            waits.append(LOOK_AGAIN)
        rate = settings.limits.rate
        if rate is not None and room > 0:
            left, wait = self._left(queue, "", rate, now)
            if left < room:
                room = left
                waits.append(wait)
        return max(0, room), min(waits, default=None)

    def room_of_key(
        self, queue: str, key: str, running: int, slots: int, now: datetime
    ) -> tuple[int, timedelta | None]:
        """Return how many of the slots one key may use, of which so many run, as `room` does."""
        limits = self._limits(queue)
        most = limits.max_running_per_key
        room = slots if most is None else min(slots, most - running)
        if room <= 0:
            return 0, LOOK_AGAIN
        if limits.rate_per_key is not None:
            left, wait = self._left(queue, key, limits.rate_per_key, now)
            if left < room:
                return max(0, left), wait if left <= 0 else None
        return room, None

    def use(self, rows: Sequence[Row], now: datetime) -> None:
        """Remember starts in queues with a rate limit."""
        for row in rows:
            limits = self._limits(row.queue)
            if limits.rate is not None:
                self._uses[row.queue, ""].append(_rounded_up(now, limits.rate.per / 1000))
            if limits.rate_per_key is not None and row.limit_key:
                at = _rounded_up(now, limits.rate_per_key.per / 1000)
                self._uses[row.queue, row.limit_key].append(at)

    def _limits(self, queue: str) -> QueueLimits:
        settings = self.settings.get(queue)
        return NO_LIMITS if settings is None else settings.limits

    def _left(self, queue: str, key: str, rate: Rate, now: datetime) -> tuple[int, timedelta]:
        uses = self._uses[queue, key]
        while uses and uses[0] <= now - rate.per:
            uses.popleft()
        return rate.count - len(uses), (uses[0] - now if uses else timedelta()) + rate.per

    def said(self, queue: str) -> Settings:
        """Return the settings of a queue, to change them; `settle` comes after that."""
        return self.settings.setdefault(queue, Settings())

    def settle(self, queue: str, now: datetime) -> None:
        """Forget what says nothing any longer; a start is where a new rate would have noted it."""
        settings = self.settings[queue]
        for used in [it for it in self._uses if it[0] == queue]:
            limits = settings.limits
            rate = limits.rate_per_key if used[1] else limits.rate
            if rate is None:
                del self._uses[used]
            else:
                latest = _rounded_up(now, rate.per / 1000)
                self._uses[used] = deque(min(at, latest) for at in self._uses[used])
        if settings.is_empty:
            del self.settings[queue]


def _rounded_up(moment: datetime, step: timedelta) -> datetime:
    seconds = max(step.total_seconds(), 0.001)
    steps = math.ceil(moment.timestamp() / seconds)
    return max(moment, datetime.fromtimestamp(steps * seconds, moment.tzinfo))
