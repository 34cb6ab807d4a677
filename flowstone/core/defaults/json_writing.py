"""
Values on their way to JSON: what each becomes, and what is refused.

Anything that JSON would change without a word is refused with its place in the value: keys that are
not text, NaN, NUL characters, lone surrogates, cycles, unknown types.
"""

import json
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType
from typing import Protocol, TypeGuard

from flowstone.core.defaults.json_scalars import WRITERS
from flowstone.core.errors import ValueNotStorableError, reason_text
from flowstone.core.json_value import JsonValue

MAX_DEPTH = 200
SCALARS = frozenset({str, int, float, bool, NoneType})
TEXT = frozenset({str})

_ALTERNATIVES = (
    "return JSON values, dataclasses, named tuples, enums, dates, decimals, UUIDs, bytes, paths or "
    "pydantic models, or choose an IO manager that keeps such values"
)
_PATH_SEGMENTS = 12
_MAX_BITS = 14_285
"""Python refuses to write a whole number of more than 4,300 digits as text."""

_json_text = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


class Refused(Exception):
    """Why a value cannot be written; gathers its place on the way out."""

    def __init__(self, why: str, advice: str, *, too_deep: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice
        self.too_deep = too_deep
        self._segments: list[str] = []
        self._containers: list[int] = []

    def inside(self, container: object, segment: str) -> None:
        """Note that it happened inside this container, at this place."""
        self._segments.append(segment)
        self._containers.append(id(container))

    def storable_error(self) -> ValueNotStorableError:
        """Return the error to raise."""
        segments = self._segments[::-1]
        if self.too_deep:
            seen: set[int] = set()
            for index, container in enumerate(reversed(self._containers)):
                if container in seen:
                    return ValueNotStorableError(
                        "it contains itself",
                        path=path_text(segments[:index]),
                        advice="refer to other parts by a key instead",
                    )
                seen.add(container)
        return ValueNotStorableError(self.why, path=path_text(segments), advice=self.advice)


class _Model(Protocol):
    """The part of a pydantic model (2.11 and later) that is used."""

    model_extra: dict[str, object] | None

    def model_dump(
        self, *, mode: str, by_alias: bool, round_trip: bool, warnings: str
    ) -> JsonValue: ...

    @classmethod
    def model_validate_json(cls, text: str, *, by_alias: bool, by_name: bool) -> "_Model": ...


def write(value: object) -> str:
    """
    Return the value as JSON text.

    Raises:
        ValueNotStorableError: Some part of it cannot be written.
    """
    try:
        return write_plain(to_plain(value, MAX_DEPTH))
    except Refused as refusal:
        raise refusal.storable_error() from None
    except RecursionError:
        raise _too_deep().storable_error() from None


def write_plain(plain: object) -> str:
    """
    Return plain JSON data as text.

    Raises:
        Refused: It has text or numbers that JSON, or a database, has no place for.
    """
    try:
        text = _json_text(plain)
    except ValueError as error:
        _refuse_flaw(plain)
        raise Refused(str(error), _ALTERNATIVES) from None
    if "\\u0000" in text:
        _refuse_flaw(plain)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            _refuse_flaw(plain)
            raise Refused(str(error), _ALTERNATIVES) from None
    return text


def to_plain(value: object, room: int) -> object:
    """
    Return the value as data that JSON has: the same object where it is plain already.

    Args:
        room: How many levels may still follow.

    Raises:
        Refused: Some part of it has no counterpart.
    """
    kind = type(value)
    if kind in SCALARS:
        return value
    if isinstance(value, dict) and kind is dict:
        return _object(value, value, room)
    if isinstance(value, (list, tuple)) and (kind is list or kind is tuple):
        return _array(value, value, room)
    write_text = WRITERS.get(kind)
    if write_text is not None:
        try:
            return write_text(value)
        except ValueError as error:
            raise Refused(str(error), "use a finite value with a fixed offset") from None
    return _special(value, room)


def _object(entries: Mapping[object, object], container: object, room: int) -> object:
    if not room:
        raise _too_deep()
    if TEXT.issuperset(map(type, entries)):
        if SCALARS.issuperset(map(type, entries.values())):
            return entries
        names: Mapping[object, object] = entries
    else:
        names = {_key(key): item for key, item in entries.items()}
    plain: dict[object, object] = {}
    name: object = ""
    try:
        for name, item in names.items():
            plain[name] = to_plain(item, room - 1)
    except Refused as refusal:
        refusal.inside(container, key_segment(name))
        raise
    return plain


def _key(key: object) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str.__str__(key)
    raise Refused(
        f"the key {reason_text(key) if key is not None else None} is a {type(key).__qualname__}; "
        "JSON has text keys only, and it would come back as text",
        "use str keys, or a list of pairs",
    )


def _array(items: list[object] | tuple[object, ...], container: object, room: int) -> object:
    if not room:
        raise _too_deep()
    if SCALARS.issuperset(map(type, items)):
        return items
    plain: list[object] = []
    try:
        for item in items:
            plain.append(to_plain(item, room - 1))  # noqa: PERF401 - its length is the place
    except Refused as refusal:
        refusal.inside(container, f"[{len(plain)}]")
        raise
    return plain


def _special(value: object, room: int) -> object:
    """Write what is told by its ancestry rather than by its exact type."""
    if isinstance(value, type):
        raise _unknown(value)
    kind: type = type(value)
    if is_dataclass(value):
        return _object({n: getattr(value, n) for n in _field_names(kind)}, value, room)
    if isinstance(value, Enum):
        return to_plain(value.value, room)
    if _is_model(value):
        return _model(value, room)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _array(value, value, room)
    if isinstance(value, (set, frozenset)) and type(value) in (set, frozenset):
        return _set(value, room)
    if isinstance(value, (OrderedDict, defaultdict, Counter)):
        return _object(value, value, room)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise _unknown(value)


@lru_cache(maxsize=1024)
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _set(value: set[object] | frozenset[object], room: int) -> object:
    """Write the members in an order that depends on nothing but them."""
    if not room:
        raise _too_deep()
    plain = []
    for item in value:
        try:
            plain.append(to_plain(item, room - 1))
        except Refused as refusal:
            refusal.inside(value, "{…}")
            raise
    return sorted(plain, key=write_plain)


def is_model_class(kind: type) -> bool:
    """Return whether this is the class of a pydantic model, by what it can do."""
    return hasattr(kind, "model_dump") and hasattr(kind, "model_validate_json")


def _is_model(value: object) -> TypeGuard[_Model]:
    return is_model_class(type(value))


def _model(value: _Model, room: int) -> object:
    """
    Write a pydantic model by its field names, and make sure that it reads back the same.

    A model can be told to show something else than it is (secrets, excluded fields, serializers
    without a validator); such a value would come back changed.
    """
    kind = type(value)
    try:
        dumped = value.model_dump(mode="json", by_alias=False, round_trip=True, warnings="error")
        plain = to_plain(dumped, room)
        again = kind.model_validate_json(write_plain(plain), by_alias=False, by_name=True)
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            f"{kind.__qualname__} cannot be dumped and read back: {reason_text(error)}",
            "make it serializable as JSON in both directions",
        ) from None
    names: Mapping[str, object] = getattr(kind, "model_fields", {})
    for name in names:
        if getattr(again, name, None) != getattr(value, name, None):
            raise Refused(
                f"field '{name}' of {kind.__qualname__} would come back as another value",
                "keep secrets and excluded fields out of stored values",
            )
    if again.model_extra != value.model_extra:
        raise Refused(
            f"extra fields of {kind.__qualname__} would come back as other values",
            "declare them as fields",
        )
    return plain


def _flaws(plain: object) -> Iterator[tuple[list[str], str, str]]:
    """Find the scalars that cannot be written: (place, why, what to do)."""
    if isinstance(plain, dict):
        for key, item in plain.items():
            for _, why, advice in _flaws(key):
                yield [], f"in the key {key!a}: {why}", advice
            for path, why, advice in _flaws(item):
                yield [key_segment(key), *path], why, advice
    elif isinstance(plain, (list, tuple)):
        for index, item in enumerate(plain):
            for path, why, advice in _flaws(item):
                yield [f"[{index}]", *path], why, advice
    else:
        flaw = _scalar_flaw(plain)
        if flaw:
            yield [], *flaw


def _scalar_flaw(value: object) -> tuple[str, str] | None:
    if isinstance(value, str):
        if "\0" in value:
            return "a NUL character, which Postgres does not store", "remove it, or use bytes"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "a lone surrogate, which is not text", "decode it properly, or use bytes"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"{value} is not JSON", "use None, or a text"
    elif isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a whole number of too many digits", "use a text"
    return None


def _refuse_flaw(plain: object) -> None:
    for path, why, advice in _flaws(plain):
        refusal = Refused(why, advice)
        for segment in reversed(path):
            refusal.inside(plain, segment)
        raise refusal


def _too_deep() -> Refused:
    return Refused(f"more than {MAX_DEPTH} levels in one another", "keep it flatter", too_deep=True)


def _unknown(value: object) -> Refused:
    kind = value if isinstance(value, type) else type(value)
    what = "a class" if isinstance(value, type) else "a value of a type that is not known here"
    return Refused(f"{kind.__module__}.{kind.__qualname__} is {what}", _ALTERNATIVES)


def key_segment(key: object) -> str:
    """Return the step into an object: ``.name``, or ``["any text"]``."""
    text = str(key)
    if text.isascii() and text.isidentifier():
        return f".{text}"
    shown = json.dumps(text if len(text) <= 40 else f"{text[:40]}…")
    return f"[{shown}]"


def path_text(segments: list[str]) -> str:
    """Return a place in a value: ``$`` and the steps into it, the middle left out when long."""
    if len(segments) > _PATH_SEGMENTS:
        half = _PATH_SEGMENTS // 2
        segments = [*segments[:half], "…", *segments[-half:]]
    return f"${''.join(segments)}"
