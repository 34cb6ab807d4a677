"""
Partitions as text: the part of an asset's identity that rows, keys and paths carry.

=====================  =====================================================================
value                  text
=====================  =====================================================================
``None``               the empty text
``date``               ``d:2024-01-01``
aware ``datetime``     ``dt:2024-01-01T05:00:00+05:00``, with ``Z`` for a zero offset
naive ``datetime``     ``ndt:2024-01-01T12:30:00``
``tuple``              ``t:`` and unpadded URL-safe base64 of a compact JSON array
``str``                itself, or ``s:`` and unpadded URL-safe base64 of its UTF-8
``bool int float``     ``true``, ``123``, ``1.5``
=====================  =====================================================================

A string is written as ``s:`` where its bare form would be read as something else: when it is empty,
has ``:`` or ``|`` (so also when it begins with a tag), or looks like a date. Numbers and booleans
share their text with the string that looks like them, which keeps storage keys as they were; the
type that an asset declares for its partitions brings them back typed. A text has at most 1,024
bytes, because databases index it. Offsets are kept: one instant written with two offsets is two
partitions. A time zone's name is not kept, its offset is.

Texts without a tag that older versions wrote are still read: ISO dates and datetimes, and tuples
with ``|`` between their parts.
"""

import base64
import binascii
import json
import math
import re
from datetime import date, datetime
from typing import TypeAlias

from flowstone.core.errors import InvalidPartitionError

Partition: TypeAlias = str | bool | int | float | date | datetime | tuple["Partition", ...] | None

MAX_BYTES = 1024
MAX_DEPTH = 16

_TYPES = (str, int, float, date, tuple)
_TAGS = ("d:", "dt:", "ndt:", "t:", "s:")
_ALLOWED = "None, str, bool, int, float, date, datetime, and tuples of these"
# Texts, not compiled patterns: re compiles and keeps them at first use, not at every import.
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NAIVE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_AWARE = _NAIVE + r"(Z|[+-][0-9]{2}:[0-9]{2}(:[0-9]{2})?)"
_BASE64 = r"[A-Za-z0-9_-]*"


def encode(value: object) -> str:
    """
    Return the text of a partition.

    Raises:
        InvalidPartitionError: The value is of another type, not finite, too long or too deep, or
            has text that no database stores.
    """
    text = _text(value)
    if len(text) > MAX_BYTES or len(text.encode("utf-8")) > MAX_BYTES:
        raise InvalidPartitionError(
            f"partition {_shown(value)} is too long: its text may have {MAX_BYTES} bytes"
        )
    return text


def decode(text: object, as_type: type | None = None) -> Partition:
    """
    Return the partition that a text stands for; the empty text is ``None``.

    A value that is structured already is returned as it is, if it is one that can be encoded.

    Args:
        as_type: The type that the asset declares for its partitions. Without it numbers and
            booleans come back as text.

    Raises:
        InvalidPartitionError: The text is malformed, or does not stand for a value of this type.
    """
    if not isinstance(text, str):
        encode(text)
        return _of_type(text, as_type)
    if text == "":
        return None
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise InvalidPartitionError(
            f"partition {_shown(text)} is too long: a text may have {MAX_BYTES} bytes"
        )
    _check_text(text)
    if as_type is None:
        return _value(text)
    return _typed(text, as_type)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string_text(str.__str__(value))
    if isinstance(value, int):
        return _int_text(value)
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, datetime):
        tag = "ndt:" if value.utcoffset() is None else "dt:"
        return tag + _datetime_text(value)
    if isinstance(value, date):
        return f"d:{value.isoformat()}"
    if isinstance(value, tuple):
        return "t:" + _to_base64(_array_text(value))
    raise _refused(value)


def _string_text(value: str) -> str:
    _check_text(value)
    if value == "" or ":" in value or "|" in value or re.fullmatch(_DATE, value):
        return "s:" + _to_base64(value)
    return value


def _int_text(value: int) -> str:
    if value.bit_length() > 4 * MAX_BYTES:
        raise InvalidPartitionError(f"a partition may have {MAX_BYTES} digits, not more")
    return int.__repr__(value)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        raise InvalidPartitionError(f"partition {value!r} is not a finite number")
    return float.__repr__(value)


def _datetime_text(value: datetime) -> str:
    offset = value.utcoffset()
    if offset is not None and offset.microseconds:
        raise InvalidPartitionError(f"partition {value} has an offset finer than a second")
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") and not offset else text


def _array_text(value: tuple[object, ...]) -> str:
    return json.dumps(_array(value, MAX_DEPTH), ensure_ascii=False, separators=(",", ":"))


def _array(value: tuple[object, ...], depth: int) -> list[object]:
    if not depth:
        raise InvalidPartitionError(f"a partition may have {MAX_DEPTH} tuples in one another")
    return [_element(item, depth) for item in value]


def _element(value: object, depth: int) -> object:
    if isinstance(value, tuple):
        return {"_type": "tuple", "v": _array(value, depth - 1)}
    if isinstance(value, datetime):
        kind = "naive_datetime" if value.utcoffset() is None else "datetime"
        return {"_type": kind, "v": _datetime_text(value)}
    if isinstance(value, date):
        return {"_type": "date", "v": value.isoformat()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_text(value)
        return str.__str__(value)
    if isinstance(value, int):
        _int_text(value)
        return int(value)
    if isinstance(value, float):
        _float_text(value)
        return float(value)
    raise _refused(value)


def _value(text: str) -> Partition:
    tag, colon, payload = text.partition(":")
    if colon:
        if tag == "d":
            return _date(payload)
        if tag == "dt":
            return _aware(payload)
        if tag == "ndt":
            return _naive(payload)
        if tag == "t":
            return _tuple(payload)
        if tag == "s":
            return _from_base64(payload)
    return _untagged(text)


def _untagged(text: str) -> Partition:
    """Read what has no tag: a plain string, or what older versions wrote."""
    if "|" in text:
        return tuple(_untagged(piece) for piece in text.split("|"))
    for read in (_aware, _naive, _date):
        try:
            return read(text)
        except InvalidPartitionError:
            continue
    return text


def _typed(text: str, as_type: type) -> Partition:
    if not isinstance(as_type, type) or not issubclass(as_type, _TYPES):
        raise InvalidPartitionError(
            f"{_shown(as_type)} cannot be the type of a partition; allowed are {_ALLOWED}"
        )
    if as_type is bool:
        if text not in ("true", "false"):
            raise _mismatch(text, as_type)
        return text == "true"
    if issubclass(as_type, str):
        # What looks like a date or a tuple without a tag is the string that an older version wrote.
        is_tagged = text.startswith(_TAGS)
        return _of_type(_value(text) if is_tagged else text, as_type)
    if issubclass(as_type, (int, float)):
        return _number(text, as_type)
    return _of_type(_value(text), as_type)


def _number(text: str, as_type: type[int | float]) -> int | float:
    """Read a number whose text is the one that it encodes to, so that no two texts are equal."""
    try:
        number = (int if issubclass(as_type, int) else float)(text)
        if encode(number) == text:
            return as_type(number)
    except (ValueError, InvalidPartitionError):
        pass
    raise _mismatch(text, as_type)


def _of_type(value: object, as_type: type | None) -> Partition:
    if as_type is not None and isinstance(value, str) and issubclass(as_type, str):
        try:
            value = as_type(value)
        except ValueError:
            raise _mismatch(value, as_type) from None
    fits = as_type is None or value is None or isinstance(value, as_type)
    is_confused = (isinstance(value, bool) and as_type is int) or (
        isinstance(value, datetime) and as_type is date
    )
    if not fits or is_confused:
        raise _mismatch(value, as_type)
    return value  # type: ignore[return-value]  # encode() accepted it, or a reader returned it


def _date(text: str) -> date:
    if not re.fullmatch(_DATE, text):
        raise _malformed(text, "a date such as 2024-01-01")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _malformed(text, f"a date: {error}") from None


def _naive(text: str) -> datetime:
    if not re.fullmatch(_NAIVE, text):
        raise _malformed(text, "a datetime such as 2024-01-01T12:30:00")
    return _datetime(text)


def _aware(text: str) -> datetime:
    if not re.fullmatch(_AWARE, text):
        raise _malformed(text, "a datetime with offset such as 2024-01-01T12:30:00Z")
    return _datetime(text)


def _datetime(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise _malformed(text, f"a datetime: {error}") from None


def _tuple(payload: str) -> tuple[Partition, ...]:
    try:
        elements = json.loads(_from_base64(payload), parse_constant=_no_number)
        return _read_array(elements, MAX_DEPTH)
    except (ValueError, RecursionError):
        raise _malformed(payload, "a tuple") from None


def _read_array(elements: object, depth: int) -> tuple[Partition, ...]:
    if not isinstance(elements, list) or not depth:
        raise _malformed(_shown(elements), "a tuple")
    return tuple(_read_element(element, depth) for element in elements)


def _read_element(element: object, depth: int) -> Partition:
    match element:
        case None | bool() | int():
            return element
        case float() if math.isfinite(element):
            return element
        case str():
            _check_text(element)
            return element
        case dict() if set(element) == {"_type", "v"}:
            return _read_tagged(element["_type"], element["v"], depth)
    raise _malformed(_shown(element), "an element of a tuple")


def _read_tagged(kind: object, content: object, depth: int) -> Partition:
    match kind, content:
        case "tuple", items:
            return _read_array(items, depth - 1)
        case "date", str(text):
            return _date(text)
        case "datetime", str(text):
            return _aware(text)
        case "naive_datetime", str(text):
            return _naive(text)
    raise _malformed(_shown(content), f"an element of a tuple of the kind {_shown(kind)}")


def _to_base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8")).rstrip(b"=").decode("ascii")


def _from_base64(payload: str) -> str:
    try:
        if not re.fullmatch(_BASE64, payload):
            raise binascii.Error
        text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise _malformed(payload, "unpadded URL-safe base64 of UTF-8") from None
    _check_text(text)
    return text


def _check_text(text: str) -> None:
    if "\0" in text:
        raise InvalidPartitionError("a partition must not have a NUL character")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidPartitionError("a partition must not have a lone surrogate") from None


def _no_number(name: str) -> None:
    raise ValueError(name)


def _refused(value: object) -> InvalidPartitionError:
    return InvalidPartitionError(
        f"a {type(value).__qualname__} cannot be a partition; allowed are {_ALLOWED}"
    )


def _malformed(text: str, expected: str) -> InvalidPartitionError:
    return InvalidPartitionError(f"partition {_shown(text)} is not {expected}")


def _mismatch(value: object, as_type: type | None) -> InvalidPartitionError:
    name = as_type.__qualname__ if as_type else "partition"
    return InvalidPartitionError(f"partition {_shown(value)} does not stand for a value of {name}")


def _shown(value: object) -> str:
    try:
        text = ascii(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= 80 else f"{text[:79]}…"
