"""Where what lives in memory gets the time from."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a memory store gets the time from."""

    def now(self) -> datetime:
        """Return the present instant, with its time zone; it never goes backwards."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)
