"""
Durations as people write them: ``"10m"``, ``"1.5s"``, ``"1h30m"``, ``"250ms"``, ``"2d"``.

Units are ``w d h m s ms``, each at most once, from the largest to the smallest. A bare number is
seconds; a text without a unit is refused, because nobody can tell what it means.
"""

import math
import re
from datetime import timedelta
from fractions import Fraction

from flowstone.core.errors import InvalidOptionError

_UNITS = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
}
_TEXT = r"\s*" + "".join(
    rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?)\s*{unit}(?![a-z])\s*)?" for unit in _UNITS
)
LONGEST = timedelta(days=36_525)
"""A century: beyond it arithmetic with instants overflows somewhere."""

_MAX_TEXT = 100


def parse(value: timedelta | str | float, *, option: str = "duration") -> timedelta:
    """
    Return the duration; below a microsecond it is rounded.

    Args:
        option: What the message names when the value is refused.

    Raises:
        InvalidOptionError: It is negative, not finite, too long, or not a duration.
    """
    try:
        duration = _parse(value)
    except OverflowError:
        raise InvalidOptionError(f"{option}={_shown(value)} is too long") from None
    if duration is None:
        raise InvalidOptionError(
            f"{option}={_shown(value)} is not a duration; write a timedelta, seconds, or a text "
            "such as '10m', '1.5s', '1h30m' or '250ms'"
        )
    if duration < timedelta(0):
        raise InvalidOptionError(f"{option}={value!r} must not be negative")
    if duration > LONGEST:
        raise InvalidOptionError(f"{option}={_shown(value)} is too long; a century is the most")
    return duration


def _parse(value: object) -> timedelta | None:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return timedelta(seconds=value) if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        return None
    match = re.fullmatch(_TEXT, value)
    if match is None or match.lastgroup is None:
        return None
    microseconds = sum(
        Fraction(amount) * _UNITS[unit] for unit, amount in match.groupdict().items() if amount
    )
    return timedelta(microseconds=round(microseconds))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
