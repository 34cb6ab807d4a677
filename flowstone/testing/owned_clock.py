"""A clock that a test moves."""

from datetime import UTC, datetime, timedelta

from flowstone.core.errors import InvalidOptionError


class OwnedClock:
    """
    Tells the machine's time, and what a test has added to it; or stands still.

    Args:
        at: Stand at this instant until `advance` is called; None goes on with the machine.
    """

    def __init__(self, at: datetime | None = None) -> None:
        if at is not None and at.tzinfo is None:
            raise InvalidOptionError(f"at={at!r} must have a time zone: datetime(..., tzinfo=UTC)")
        self._at = at
        self._added = timedelta()

    def now(self) -> datetime:
        """Return the present instant; see `flowstone.core.defaults.clock.Clock`."""
        return (datetime.now(UTC) if self._at is None else self._at) + self._added

    def advance(self, by: timedelta) -> None:
        """
        Let time pass.

        Applications look at the clock when they are told: ``await flowstone.testing.advance(app,
        by)`` does both.

        Raises:
            InvalidOptionError: It would go backwards.
        """
        if by < timedelta():
            raise InvalidOptionError(f"by={by!r}: a clock does not go backwards")
        self._added += by
