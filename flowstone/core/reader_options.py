"""
The configuration of a reader as a dataclass: every field checked, all objections at once.

::

    @dataclass(frozen=True, kw_only=True)
    class FolderOptions:
        root: str
        suffix: str = ""

    options = options_of(FolderOptions, config)
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from flowstone.core import annotations
from flowstone.core.errors import InvalidOptionError
from flowstone.core.suggestion import suggest

T = TypeVar("T")


def options_of(kind: type[T], config: Mapping[str, object]) -> T:
    """
    Return the dataclass that a reader's configuration stands for.

    Field types are classes, unions of them, and lists, mappings and functions. A ``__post_init__``
    that raises `ValueError` objects too.

    Raises:
        InvalidOptionError: Fields are unknown, missing or of another type.
    """
    # Any: what a dataclass is, in the words of its own module.
    fields = {it.name: it for it in dataclasses.fields(typing.cast("Any", kind)) if it.init}
    hints = typing.get_type_hints(kind)
    wrong = [_unknown(name, fields) for name in config if name not in fields]
    for name, field in fields.items():
        expected = annotations.type_text(hints[name])
        if name in config:
            if not _fits(config[name], hints[name]):
                wrong.append(f"{name}={config[name]!r} must be {expected}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            wrong.append(f"{name}= is missing: {expected}")
    if not wrong:
        try:
            return kind(**config)
        except ValueError as error:
            wrong.append(str(error))
    raise InvalidOptionError(f"{kind.__qualname__}: {'; '.join(wrong)}")


def _unknown(name: str, fields: Mapping[str, object]) -> str:
    meant = suggest(name, fields)
    question = f", did you mean '{meant}'?" if meant else ""
    return f"there is no '{name}'{question} (fields: {', '.join(fields)})"


def _fits(value: object, hint: object) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, it) for it in arguments)
    if origin is Literal:
        return value in arguments
    if origin is Callable:
        return callable(value)
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(_fits(it, arguments[0]) for it in value)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(it, arguments[1]) for it in value.values())
    expected = origin or hint
    assert isinstance(expected, type), f"{hint} is more than this module knows"
    return isinstance(value, expected) and not (isinstance(value, bool) and expected is int)
