"""
What a function returns instead of a value, when there is none.

Anything else that it returns is the asset's value, ``None`` included; to fail, it raises.
"""

from dataclasses import dataclass
from datetime import timedelta

from flowstone.core import duration


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing to store: required dependents are skipped, optional ones get ``None``."""

    reason: str = ""


@dataclass(frozen=True, slots=True, init=False)
class Snooze:
    """
    Not now: run again after the delay. Does not count as an attempt.

    Args:
        delay: A timedelta, a text such as ``"10m"``, or seconds.

    Raises:
        InvalidOptionError: The delay is not a duration.
    """

    delay: timedelta

    def __init__(self, delay: timedelta | str | float) -> None:
        object.__setattr__(self, "delay", duration.parse(delay, option="Snooze delay"))


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up on purpose; the dependents are cancelled. Not a failure, and not tried again."""

    reason: str = ""


OUTCOMES = (Skip, Snooze, Cancel)
"""The types that are not values when a function returns them."""
