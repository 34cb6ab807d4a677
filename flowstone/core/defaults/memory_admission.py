"""What queues let through in the memory store: pauses, and limits that are counted from rows."""

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from flowstone.core.contracts.queues import QueueLimits

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
        self._uses: defaultdict[str, deque[tuple[datetime, int]]] = defaultdict(deque)

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
            uses = self._uses[queue]
            while uses and uses[0][0] <= now - rate.per:
                uses.popleft()
            left = rate.count - sum(count for _, count in uses)
            if left < room:
                room = left
                waits.append((uses[0][0] - now if uses else timedelta()) + rate.per)
        return max(0, room), min(waits, default=None)

    def use(self, queue: str, count: int, now: datetime) -> None:
        """Remember starts of a queue with a rate limit."""
        settings = self.settings.get(queue)
        if count and settings is not None and (rate := settings.limits.rate) is not None:
            self._uses[queue].append((_rounded_up(now, rate.per / 1000), count))

    def said(self, queue: str) -> Settings:
        """Return the settings of a queue, to change them; `settle` comes after that."""
        return self.settings.setdefault(queue, Settings())

    def settle(self, queue: str) -> None:
        """Forget what says nothing any longer."""
        settings = self.settings[queue]
        if settings.limits.rate is None:
            self._uses.pop(queue, None)
        if settings.is_empty:
            del self.settings[queue]


def _rounded_up(moment: datetime, step: timedelta) -> datetime:
    seconds = max(step.total_seconds(), 0.001)
    steps = math.ceil(moment.timestamp() / seconds)
    return max(moment, datetime.fromtimestamp(steps * seconds, moment.tzinfo))
