"""
How often something may start: ``"10/s"``, ``"100/m"``, ``"5/10s"``, ``"1000/d"``.

It holds in every window: between any start and the one that comes so many starts later there is
at least the period.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError

_TEXT = re.compile(r"\s*([0-9]{1,10})\s*/\s*(\S.*?)\s*")
_UNITS = ("w", "d", "h", "m", "s", "ms")

MOST = 2**31 - 1
SHORTEST = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Rate:
    """
    So many starts within any period.

    Raises:
        InvalidOptionError: The count or the period is none.
    """

    count: int
    per: timedelta

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise InvalidOptionError(f"rate: {self.count} starts; 1 to {MOST} are possible")
        if not SHORTEST <= self.per <= duration.LONGEST:
            raise InvalidOptionError(f"rate: a period of {self.per}; give 1ms to a century")

    def __str__(self) -> str:
        milliseconds = self.per // timedelta(milliseconds=1)
        for unit in _UNITS:
            whole, rest = divmod(milliseconds, duration.parse(f"1{unit}") // SHORTEST)
            if whole and not rest:
                return f"{self.count}/{'' if whole == 1 else whole}{unit}"
        raise AssertionError("a period is never below a millisecond")


def parse(value: "Rate | str", *, option: str = "rate") -> Rate:
    """
    Return the rate.

    Raises:
        InvalidOptionError: It is not one.
    """
    if isinstance(value, Rate):
        return value
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidOptionError(
            f"{option}={value!r} is not a rate; write a number of starts and a period, such as "
            "'10/s', '100/m' or '5/10s'"
        )
    count, period = match.groups()
    text = f"1{period}" if period in _UNITS else period
    per = duration.parse(text, option=option)
    # What is stored is whole milliseconds; a longer period is the stricter one.
    return Rate(int(count), -(-per // SHORTEST) * SHORTEST)
