"""When a worker looks again by itself: at the earliest of the times that something falls due."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from flowstone.core.contracts.store import Settlement, Turn

LONGEST_SECONDS = 3600.0

UNTOLD = timedelta(milliseconds=250)
"""How soon a worker looks again when a turn brought work: it does not say then what is due next."""


class Alarm:
    """
    Rings once at the earliest time that it was set to since it last rang.

    Args:
        ring: What is called then.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._due: asyncio.TimerHandle | None = None
        self._due_at = 0.0  # uvloop's handles cannot all tell

    def set(self, delay: timedelta) -> None:
        """Ring so much later, or in an hour if that is sooner."""
        loop = asyncio.get_running_loop()
        when = loop.time() + min(delay.total_seconds(), LONGEST_SECONDS)
        if self._due is not None:
            if self._due_at <= when:
                return
            self._due.cancel()
        self._due, self._due_at = loop.call_at(when, self._go_off), when

    def set_for(self, settlements: Sequence[Settlement]) -> None:
        """Ring when what was put off by this batch falls due."""
        delays = [it.delay for it in settlements if it.delay is not None]
        if delays:
            self.set(min(delays))

    def set_after(self, turn: Turn) -> None:
        """Ring when the next timed job falls due, or to hear when; when a limit may let go, too."""
        if turn.claims:
            self.set(UNTOLD)
        for delay in (turn.next_due, turn.held):
            if delay is not None:
                self.set(delay)

    def off(self) -> None:
        """Ring no more."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _go_off(self) -> None:
        self._due = None
        self._ring()
