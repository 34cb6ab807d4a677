"""How long one attempt at an item may take."""

import asyncio
import math
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

from flowstone.core.call_beginning import on_beginning

Place: TypeAlias = Literal["loop", "thread", "child"]
"""Where the function runs."""

WAIT_SECONDS = 60.0
"""So long, or as long as its limit if that is more, an item waits for a thread before it goes back:
functions that never return may hold them all. (Children that do are killed.)"""


class TimeLimit:
    """
    Cancels what takes too long; None is no limit.

    What waits for a thread or a child process has its time from when it begins.
    """

    def __init__(self, limit: timedelta | None, place: Place = "loop") -> None:
        self.limit = limit
        self.seconds = math.inf if limit is None else limit.total_seconds()
        self.waits = place != "loop"
        self._patience = max(self.seconds, WAIT_SECONDS) if place == "thread" else math.inf
        self._waiting: dict[asyncio.Task[None], object] = {}
        self._stopped: set[asyncio.Task[None]] = set()

    def wait(
        self, running: dict[asyncio.Task[None], float], task: asyncio.Task[None], now: float
    ) -> None:
        """Let the time of what a task is about to call begin with it; called in that task."""
        running[task] = now + self._patience
        this = self._waiting[task] = object()
        loop = asyncio.get_running_loop()

        def begun() -> None:
            loop.call_soon_threadsafe(self._begin, running, task, this)

        on_beginning.set(begun)

    def has_begun(self, task: asyncio.Task[None]) -> bool:
        """Return whether what a task has called began, or never had to wait; it waits no more."""
        return self._waiting.pop(task, None) is None

    def stop(self, running: Mapping[asyncio.Task[None], float], now: float) -> None:
        """Cancel tasks whose time is over."""
        for task, ends_at in list(running.items()):
            if now > ends_at and task not in self._stopped:
                self._stopped.add(task)
                task.cancel()

    def has_stopped(self, task: asyncio.Task[None]) -> bool:
        """Return whether this was cancelled here; then it is so no more, and goes on."""
        if task not in self._stopped:
            return False
        self._stopped.discard(task)
        task.uncancel()
        return True

    def _begin(
        self, running: dict[asyncio.Task[None], float], task: asyncio.Task[None], this: object
    ) -> None:
        if self._waiting.get(task) is this:
            del self._waiting[task]
            running[task] = time.monotonic() + self.seconds
