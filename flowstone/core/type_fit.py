"""
Whether a value of one type can be what a parameter of another type gets.

A best effort, for edges that no type checker sees (``Annotated``, names, phases): only what plainly
cannot work is refused. Values cross a border as JSON, so that a list may become a tuple, and a
mapping a dataclass; a list never becomes a text, nor one record class another.
"""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import pathlib
import sys
import typing
import uuid

from flowstone.core import annotations

_ARRAY, _OBJECT, _TEXT, _NUMBER, _BOOL, _NULL = "array", "object", "text", "number", "bool", "null"

_TEXTS = (
    str,
    bytes,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    pathlib.PurePath,
)


def fits(given: object, wanted: object) -> bool:
    """Whether a value of the type ``given`` may serve as one of the type ``wanted``."""
    given, wanted = _plain(given), _plain(wanted)
    if _is_open(given) or _is_open(wanted) or given == wanted:
        return True
    if annotations.is_union(given):
        return all(fits(member, wanted) for member in typing.get_args(given))
    if annotations.is_union(wanted):
        return any(fits(given, member) for member in typing.get_args(wanted))
    given_shapes, wanted_shapes = _shapes(given), _shapes(wanted)
    if given_shapes and wanted_shapes and not given_shapes & wanted_shapes:
        return False
    if given_shapes == wanted_shapes == {_ARRAY}:
        return _elements_fit(given, wanted)
    given_class, wanted_class = _class(given), _class(wanted)
    if given_class is None or wanted_class is None:
        return True
    if issubclass(given_class, dict | collections.abc.Mapping) and issubclass(
        wanted_class, dict | collections.abc.Mapping
    ):
        return _values_fit(given, wanted)
    if _is_record(given_class) and _is_record(wanted_class):
        return issubclass(given_class, wanted_class)
    return True


def _plain(annotation: object) -> object:
    annotation = annotations.without_marks(annotation)
    while isinstance(annotation, typing.NewType):
        annotation = annotations.without_marks(annotation.__supertype__)
    return annotations.NoneType if annotation is None else annotation


def _is_open(annotation: object) -> bool:
    return annotation in (object, typing.Any) or isinstance(
        annotation, typing.TypeVar | annotations.Unresolved | str | typing.ForwardRef
    )


def _class(annotation: object) -> type | None:
    found = typing.get_origin(annotation) or annotation
    return found if isinstance(found, type) else None


def _shapes(annotation: object) -> frozenset[str]:
    """Return which kinds of JSON values of the type can be; empty is not known."""
    if typing.get_origin(annotation) is typing.Literal:
        values = typing.get_args(annotation)
        return frozenset().union(*(_class_shapes(type(value)) for value in values))
    found = _class(annotation)
    return _class_shapes(found) if found else frozenset()


def _class_shapes(found: type) -> frozenset[str]:
    shapes: frozenset[str] = frozenset()
    if issubclass(found, enum.Enum) or getattr(found, "_is_protocol", False):
        return shapes
    if found is annotations.NoneType:
        shapes = frozenset({_NULL})
    elif issubclass(found, bool):
        shapes = frozenset({_BOOL})
    elif issubclass(found, int | float):
        shapes = frozenset({_NUMBER})
    elif issubclass(found, _TEXTS):
        shapes = frozenset({_TEXT})
    elif issubclass(found, collections.abc.Mapping) or dataclasses.is_dataclass(found):
        shapes = frozenset({_OBJECT})
    elif issubclass(found, list | tuple | set | frozenset | collections.abc.Collection):
        shapes = frozenset({_ARRAY})
    elif typing.is_typeddict(found):
        shapes = frozenset({_OBJECT})
    return shapes


def _is_record(found: type) -> bool:
    """Whether it is a class of somebody's own, which only its subclasses can stand in for."""
    if getattr(found, "_is_protocol", False) or typing.is_typeddict(found):
        return False
    return dataclasses.is_dataclass(found) or (not _class_shapes(found) and _is_foreign(found))


def _is_foreign(found: type) -> bool:
    return found.__module__.partition(".")[0] not in sys.stdlib_module_names


def _elements_fit(given: object, wanted: object) -> bool:
    mine, theirs = _elements(given), _elements(wanted)
    if len(mine) == len(theirs):
        return all(map(fits, mine, theirs))
    if len(mine) == 1:
        return all(fits(mine[0], one) for one in theirs)
    return len(theirs) != 1 or all(fits(one, theirs[0]) for one in mine)


def _elements(annotation: object) -> list[object]:
    """Return the types of the elements: one for all of them, or one for each place of a tuple."""
    arguments = [it for it in typing.get_args(annotation) if it is not ...]
    return arguments or [object]


def _values_fit(given: object, wanted: object) -> bool:
    mine, theirs = typing.get_args(given)[1:], typing.get_args(wanted)[1:]
    return all(map(fits, mine, theirs))
