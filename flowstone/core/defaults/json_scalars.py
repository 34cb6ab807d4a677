"""
The scalar types that JSON has not, and the text that each is written as.

=================  ====================================================================
type               JSON
=================  ====================================================================
date, datetime,    ISO 8601 text; offsets and microseconds are kept
time
timedelta          ISO 8601 duration in seconds, ``PT90.5S``, ``-PT1S``
Decimal            text, digit for digit
UUID, paths        text
bytes, bytearray   base64 text
=================  ====================================================================

A reader refuses any text that its writer, or pydantic's, would not have written.
"""

import base64
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from uuid import UUID

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?"
_DURATION = (
    r"(?P<sign>-?)P(?:(?P<days>[0-9]+)D)?"
    r"(?:T(?:(?P<hours>[0-9]+)H)?(?:(?P<minutes>[0-9]+)M)?"
    r"(?:(?P<seconds>[0-9]+)(?:\.(?P<fraction>[0-9]{1,6}))?S)?)?"
)
_MICROSECOND = timedelta(microseconds=1)


def write_date(value: date) -> str:
    """Return the ISO text of a date."""
    return value.isoformat()


def write_clock(value: datetime | time) -> str:
    """Return the ISO text; raises ValueError for a time zone whose offset it cannot have."""
    offset = value.utcoffset()
    if offset is None and value.tzinfo is not None:
        raise ValueError(f"{value.tzinfo} has no offset here, and only offsets are kept")
    if offset is not None and offset.microseconds:
        raise ValueError("its offset is finer than a second")
    return value.isoformat()


def write_timedelta(value: timedelta) -> str:
    """Return the duration as ISO 8601 seconds, exact to the microsecond."""
    total = value // _MICROSECOND
    seconds, microseconds = divmod(abs(total), 1_000_000)
    fraction = f".{microseconds:06}".rstrip("0") if microseconds else ""
    return f"{'-' if total < 0 else ''}PT{seconds}{fraction}S"


def write_decimal(value: Decimal) -> str:
    """Return the digits; raises ValueError for NaN and infinities."""
    if not value.is_finite():
        raise ValueError(f"Decimal {value} is not finite")
    return str(value)


def write_bytes(value: bytes | bytearray) -> str:
    """Return base64 of the bytes."""
    return base64.b64encode(value).decode("ascii")


def read_date(text: str) -> date:
    """Read ``2024-01-01``."""
    if not re.fullmatch(_DATE, text):
        raise ValueError("not an ISO date")
    return date.fromisoformat(text)


def read_datetime(text: str) -> datetime:
    """Read an ISO datetime; a bare date is none."""
    day, separator, clock = text[:10], text[10:11], text[11:]
    if separator != "T" or not re.fullmatch(_DATE, day) or not re.fullmatch(_TIME, clock):
        raise ValueError("not an ISO datetime")
    return datetime.fromisoformat(text)


def read_time(text: str) -> time:
    """Read an ISO time of day."""
    if not re.fullmatch(_TIME, text):
        raise ValueError("not an ISO time")
    return time.fromisoformat(text)


def read_timedelta(text: str) -> timedelta:
    """Read an ISO 8601 duration of days, hours, minutes and seconds."""
    match = re.fullmatch(_DURATION, text)
    if match is None or text[-1] in "PT-":
        raise ValueError("not an ISO duration")
    parts = match.groupdict()
    try:
        duration = timedelta(
            days=int(parts["days"] or 0),
            hours=int(parts["hours"] or 0),
            minutes=int(parts["minutes"] or 0),
            seconds=int(parts["seconds"] or 0),
            microseconds=int((parts["fraction"] or "").ljust(6, "0")),
        )
        return -duration if parts["sign"] else duration
    except OverflowError:
        raise ValueError("too long a duration") from None


def read_decimal(text: str) -> Decimal:
    """Read a finite decimal number."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError("not a decimal number") from None
    if not number.is_finite():
        raise ValueError("not a finite number")
    return number


def read_bytes(text: str) -> bytes:
    """Read base64."""
    return base64.b64decode(text.encode("ascii"), validate=True)


def read_bytearray(text: str) -> bytearray:
    """Read base64."""
    return bytearray(read_bytes(text))


WRITERS: dict[type, Callable[..., str]] = {
    date: write_date,
    datetime: write_clock,
    time: write_clock,
    timedelta: write_timedelta,
    Decimal: write_decimal,
    UUID: str,
    bytes: write_bytes,
    bytearray: write_bytes,
    PosixPath: str,
    WindowsPath: str,
    PurePosixPath: str,
    PureWindowsPath: str,
}
"""By exact type: a subclass may mean something else, and is refused."""

READERS: dict[type, Callable[[str], object]] = {
    date: read_date,
    datetime: read_datetime,
    time: read_time,
    timedelta: read_timedelta,
    Decimal: read_decimal,
    UUID: UUID,
    bytes: read_bytes,
    bytearray: read_bytearray,
    Path: Path,
    PurePath: PurePath,
    PurePosixPath: PurePosixPath,
    PureWindowsPath: PureWindowsPath,
}
"""By annotation. Each raises ValueError for a text that is not its own."""
