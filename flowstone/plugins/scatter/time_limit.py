"""How long one attempt at an item may take."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta


class TimeLimit:
    """Cancels what takes too long; None is no limit."""

    def __init__(self, limit: timedelta | None) -> None:
        self.limit = limit
        self._stopped: set[asyncio.Task[None]] = set()

    def stop(self, running: Iterable[tuple[asyncio.Task[None], float]], now: float) -> None:
        """Cancel tasks whose items began too long ago."""
        if self.limit is None:
            return
        seconds = self.limit.total_seconds()
        for task, began in running:
            if now - began > seconds and task not in self._stopped:
                self._stopped.add(task)
                task.cancel()

    def has_stopped(self, task: asyncio.Task[None]) -> bool:
        """Return whether this was cancelled here; then it is so no more, and goes on."""
        if task not in self._stopped:
            return False
        self._stopped.discard(task)
        task.uncancel()
        return True
