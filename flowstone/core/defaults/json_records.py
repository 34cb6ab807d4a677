"""Readers of classes with named fields: dataclasses, named tuples, typed dictionaries, models."""

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from flowstone.core.defaults.json_writing import is_model_class, key_segment
from flowstone.core.defaults.unreadable import Reader, Unreadable, expected
from flowstone.core.errors import reason_text

Compile = Callable[[object], Reader | None]
"""Makes the reader of an annotation; None is plain JSON."""


def record_reader(kind: type, arguments: tuple[object, ...], of: Compile) -> Reader | None:
    """Return the reader of such a class, or None when it is none."""
    if is_model_class(kind):
        return _model_reader(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind, arguments, of)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple_reader(kind, arguments, of)
    if issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        return _typed_dict_reader(kind, arguments, of)
    return None


def _dataclass_reader(kind: type, arguments: tuple[object, ...], of: Compile) -> Reader:
    hints = _hints(kind, arguments)
    given: dict[str, Reader | None] = {}
    later: dict[str, Reader | None] = {}
    required = set()
    for field in dataclasses.fields(kind):
        (given if field.init else later)[field.name] = _field_reader(hints, field.name, of)
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if not has_default:
            required.add(field.name)
    name = kind.__qualname__

    def read(plain: object) -> object:
        if not isinstance(plain, dict):
            raise expected(f"an object for {name}", plain)
        _check_names(plain, given.keys() | later.keys(), required, name)
        made = _call(kind, name, **_read_fields(plain, given))
        for field_name, value in _read_fields(plain, later).items():
            object.__setattr__(made, field_name, value)
        return made

    return read


def _named_tuple_reader(kind: type, arguments: tuple[object, ...], of: Compile) -> Reader:
    hints = _hints(kind, arguments)
    names: tuple[str, ...] = getattr(kind, "_fields", ())
    readers = [_field_reader(hints, name, of) for name in names]

    def read(plain: object) -> object:
        if not isinstance(plain, list) or len(plain) != len(readers):
            raise expected(f"an array of {len(readers)} for {kind.__qualname__}", plain)
        values = []
        for name, reader, item in zip(names, readers, plain, strict=True):
            try:
                values.append(item if reader is None else reader(item))
            except Unreadable as error:
                error.inside(key_segment(name))
                raise
        return _call(kind, kind.__qualname__, *values)

    return read


def _typed_dict_reader(kind: type, arguments: tuple[object, ...], of: Compile) -> Reader:
    hints = _hints(kind, arguments)
    readers = {name: _field_reader(hints, name, of) for name in hints}
    required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    name = kind.__qualname__

    def read(plain: object) -> object:
        if not isinstance(plain, dict):
            raise expected(f"an object for {name}", plain)
        _check_names(plain, readers.keys(), required, name)
        return _read_fields(plain, readers)

    return read


def _model_reader(kind: type) -> Reader:
    validate = getattr(kind, "model_validate_json")  # noqa: B009 - duck typed, see is_model_class

    def read(plain: object) -> object:
        try:
            return validate(json.dumps(plain), by_alias=False, by_name=True)
        except Exception as error:
            raise Unreadable(f"it is no {kind.__qualname__}: {reason_text(error)}") from None

    return read


def _field_reader(hints: Mapping[str, object], name: str, of: Compile) -> Reader | None:
    try:
        return of(hints.get(name, object))
    except Unreadable as error:
        error.inside(key_segment(name))
        raise


def _check_names(
    plain: Mapping[str, object],
    known: typing.AbstractSet[str],
    required: typing.AbstractSet[str],
    name: str,
) -> None:
    unknown = plain.keys() - known
    if unknown:
        raise Unreadable(f"{name} has no field {', '.join(sorted(map(repr, unknown)))}")
    missing = required - plain.keys()
    if missing:
        raise Unreadable(f"{name} needs the field {', '.join(sorted(map(repr, missing)))}")


def _read_fields(
    plain: Mapping[str, object], readers: Mapping[str, Reader | None]
) -> dict[str, object]:
    values: dict[str, object] = {}
    name = ""
    try:
        for name, item in plain.items():
            if name in readers:
                reader = readers[name]
                values[name] = item if reader is None else reader(item)
    except Unreadable as error:
        error.inside(key_segment(name))
        raise
    return values


def _call(kind: type, name: str, /, *values: object, **named: object) -> object:
    try:
        made: object = kind(*values, **named)
    except Exception as error:
        raise Unreadable(f"{name} refused it: {reason_text(error)}") from None
    return made


def _hints(kind: type, arguments: tuple[object, ...]) -> dict[str, object]:
    """Return the field annotations with the type variables of the class filled in."""
    try:
        hints = typing.get_type_hints(kind, localns={kind.__name__: kind}, include_extras=True)
    except Exception as error:
        raise Unreadable(
            f"the annotations of {kind.__qualname__} cannot be resolved: {reason_text(error)}"
        ) from None
    variables = _variables(kind, arguments)
    return {name: filled_in(hint, variables) for name, hint in hints.items()}


def _variables(kind: type, arguments: tuple[object, ...]) -> dict[object, object]:
    """Return what each type variable stands for, in the class and in its generic bases."""
    parameters = getattr(kind, "__parameters__", ())
    known: dict[object, object] = dict(zip(parameters, arguments, strict=False))
    for base in getattr(kind, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if isinstance(origin, type) and origin is not Generic:
            inner = tuple(filled_in(argument, known) for argument in typing.get_args(base))
            known = {**_variables(origin, inner), **known}
    return known


def filled_in(hint: object, variables: Mapping[object, object]) -> object:
    """Return the annotation with its type variables replaced; those not known become plain JSON."""
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint.__bound__ or object)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    arguments = tuple(filled_in(parameter, variables) for parameter in parameters)
    # Looked up on the type: list[T] hands its attributes on to list.
    substitute: Callable[[object, object], object] = getattr(type(hint), "__getitem__")  # noqa: B009
    return substitute(hint, arguments)
