"""
When a worker has done enough: so many attempts, or so much memory, and a fresh process follows.

For code that leaks, or libraries that do. The worker then stops as if it had been asked to: it
takes no more work, and what runs ends in its own time.
"""

import asyncio
import logging
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often memory is looked at."""

STATM = Path("/proc/self/statm")


class Recycling:
    """
    Counts what a worker has done.

    Args:
        max_jobs: So many attempts, of assets and jobs; None is any number.
        max_memory: So many bytes of resident memory; None is any.
        stop: Called once, when it is enough.
    """

    def __init__(
        self, max_jobs: int | None, max_memory: int | None, stop: Callable[[], None]
    ) -> None:
        self._left = max_jobs
        self._max_memory = max_memory
        self._stop = stop
        self.is_due = False

    def count(self) -> None:
        """Take one attempt that has begun into account."""
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._end("it has begun as many attempts as it may")

    async def watch_memory(self) -> None:
        """Look at the memory now and then; returns once there is too much, or at once."""
        while self._max_memory is not None and not self.is_due:
            used = resident_bytes()
            if used > self._max_memory:
                may = self._max_memory // 2**20
                self._end(f"it uses {used // 2**20} MiB of memory, and may use {may}")
            await asyncio.sleep(LOOK_SECONDS)

    def _end(self, why: str) -> None:
        if not self.is_due:
            self.is_due = True
            logger.info("The worker stops, for another to begin: %s", why)
            self._stop()


def resident_bytes() -> int:
    """Return how much memory this process has; where the system does not tell, the most it had."""
    with suppress(OSError):
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
