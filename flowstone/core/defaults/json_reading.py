"""
Readers: what an annotation makes of plain JSON data.

`Readers.of` compiles an annotation once into a function and keeps it; None stands for plain JSON as
it is. A reader accepts what the writer makes of a value of its type and nothing else: no number is
taken for a text, no unknown field is dropped. The readers of classes and of unions are in
`json_records` and `json_unions`.
"""

import collections
import collections.abc
import threading
import typing
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from types import NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Literal, NewType, TypeVar, Union

from flowstone.core.defaults.json_records import record_reader
from flowstone.core.defaults.json_scalars import READERS
from flowstone.core.defaults.json_unions import union_reader
from flowstone.core.defaults.json_writing import (
    MAX_DEPTH,
    Refused,
    key_segment,
    to_plain,
    write_plain,
)
from flowstone.core.defaults.unreadable import Reader, Unreadable, expected
from flowstone.core.errors import reason_text

M = TypeVar("M")

MAX_READERS = 2048

_PLAIN = (Any, object)
_LISTS = {
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
}
_DICTS = {dict, collections.abc.Mapping, collections.abc.MutableMapping}
_SETS: dict[object, type] = {
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
_KEYED: dict[object, Callable[[dict[object, object]], object]] = {
    collections.OrderedDict: collections.OrderedDict,
    collections.Counter: collections.Counter,
}
_EXACT = frozenset({str, int, bool, float, NoneType})
"""Annotations whose values are plain JSON of exactly that type."""
_WRAPPERS = (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)


class Readers:
    """
    The readers that were compiled so far, at most `MAX_READERS`.

    Compiling is under a lock; reading is not.
    """

    def __init__(self) -> None:
        self.known: dict[object, Reader | None] = {}
        self._lock = threading.RLock()
        self._pending: list[object] = []

    def of(self, annotation: object) -> Reader | None:
        """
        Return what makes a value of plain JSON data; None where nothing is to be done.

        Raises:
            Unreadable: Nothing can be read as this annotation.
        """
        with self._lock:
            try:
                if annotation in self.known:
                    return self.known[annotation]
            except TypeError:  # not hashable, such as Annotated[int, []]
                return self._compiled(annotation)
            if annotation in self._pending:
                return lambda plain: _apply(self.of(annotation), plain)
            self._pending.append(annotation)
            try:
                reader = self._compiled(annotation)
            finally:
                self._pending.pop()
            if len(self.known) >= MAX_READERS:
                self.known = {}
            self.known[annotation] = reader
            return reader

    def _compiled(self, annotation: object) -> Reader | None:
        if annotation in _PLAIN:
            return None
        if annotation is None or annotation is NoneType:
            return _exact(NoneType, "null")
        if isinstance(annotation, TypeVar):
            return self._type_variable(annotation)
        if isinstance(annotation, NewType):
            return self.of(annotation.__supertype__)
        if isinstance(annotation, (str, ForwardRef)):
            raise Unreadable(f"the annotation {_shown(annotation)} is not resolved")
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated or origin in _WRAPPERS:
            return self.of(arguments[0])
        if origin is Literal:
            return _literal(arguments)
        if origin is Union or origin is UnionType:
            return union_reader(arguments, self.of, _shown(annotation))
        if origin is tuple and not arguments and annotation is not tuple:
            return self._fixed_tuple(())
        if hasattr(annotation, "__value__"):  # type X = …
            return self.of(annotation.__value__)
        reader = self._of_class(origin or annotation, arguments)
        if reader is None:
            raise Unreadable(f"{_shown(annotation)} is not an annotation for a stored value")
        return reader

    def _type_variable(self, variable: TypeVar) -> Reader | None:
        if variable.__constraints__:
            return union_reader(variable.__constraints__, self.of, _shown(variable))
        return self.of(variable.__bound__ or object)

    def _of_class(self, kind: object, arguments: tuple[object, ...]) -> Reader | None:
        if kind in _LISTS:
            return self._list(arguments)
        if kind is tuple:
            return self._tuple(arguments)
        if kind in _SETS:
            return self._set(_SETS[kind], arguments)
        if kind in _DICTS:
            return self._dict(arguments)
        if kind in _KEYED:
            return self._keyed(kind, arguments)
        return self._of_type(kind, arguments) if isinstance(kind, type) else None

    def _of_type(self, kind: type, arguments: tuple[object, ...]) -> Reader | None:
        if kind is float:
            return _float
        if kind in _EXACT:
            return _exact(kind, kind.__name__)
        if kind in READERS:
            return _text(kind)
        if issubclass(kind, Enum):
            return _enum(kind)
        record = record_reader(kind, arguments, self.of)
        if record is not None:
            return record
        for base in (str, int, float):
            if issubclass(kind, base):
                return _converted(self.of(base), kind)
        return None

    def _list(self, arguments: tuple[object, ...]) -> Reader:
        annotation = arguments[0] if arguments else object
        item = self.of(annotation)
        exact = frozenset({annotation}) & _EXACT

        def read(plain: object) -> object:
            if type(plain) is not list:
                raise expected("an array", plain)
            if item is None or (exact and exact.issuperset(map(type, plain))):
                return plain
            return _read_items(plain, item)

        return read

    def _tuple(self, arguments: tuple[object, ...]) -> Reader:
        if not arguments or arguments[-1] is Ellipsis:
            return _converted(self._list(arguments[:1]), tuple)
        return self._fixed_tuple(arguments)

    def _fixed_tuple(self, arguments: tuple[object, ...]) -> Reader:
        readers = [self.of(argument) for argument in arguments]

        def read(plain: object) -> object:
            if not isinstance(plain, list) or len(plain) != len(readers):
                raise expected(f"an array of {len(readers)}", plain)
            values = []
            try:
                for reader, item in zip(readers, plain, strict=True):
                    values.append(_apply(reader, item))
            except Unreadable as error:
                error.inside(f"[{len(values)}]")
                raise
            return tuple(values)

        return read

    def _set(self, kind: type, arguments: tuple[object, ...]) -> Reader:
        items = self._list(arguments)

        def read(plain: object) -> object:
            values = items(plain)
            try:
                members = kind(values)
            except TypeError as error:
                raise Unreadable(f"it is no set: {error}") from None
            if isinstance(values, list) and len(members) != len(values):
                raise Unreadable("it has an element twice, and a set has not")
            return members

        return read

    def _dict(self, arguments: tuple[object, ...]) -> Reader:
        key_annotation, annotation = arguments or (str, object)
        item = self.of(annotation)
        key = None if key_annotation is str else self.of(key_annotation)
        exact = frozenset({annotation}) & _EXACT

        def read(plain: object) -> object:
            if type(plain) is not dict:
                raise expected("an object", plain)
            if key is None and (
                item is None or (exact and exact.issuperset(map(type, plain.values())))
            ):
                return plain
            return _read_entries(plain, key, item)

        return read

    def _keyed(self, kind: object, arguments: tuple[object, ...]) -> Reader:
        if kind is collections.Counter:
            return _converted(self._dict((*(arguments or (str,)), int)), collections.Counter)
        return _converted(self._dict(arguments), collections.OrderedDict)


def _apply(reader: Reader | None, plain: object) -> object:
    return plain if reader is None else reader(plain)


def _exact(kind: type, name: str) -> Reader:
    def read(plain: object) -> object:
        if type(plain) is not kind:
            raise expected(name, plain)
        return plain

    return read


def _float(plain: object) -> object:
    if type(plain) is float:
        return plain
    if type(plain) is int:
        try:
            number = float(plain)
        except OverflowError:
            raise expected("float", plain) from None
        if number == plain:
            return number
    raise expected("float", plain)


def _text(kind: type) -> Reader:
    parse = READERS[kind]

    def read(plain: object) -> object:
        if type(plain) is not str:
            raise expected(f"{kind.__name__} as text", plain)
        try:
            return parse(plain)
        except ValueError as error:
            raise Unreadable(f"{ascii(plain)[:60]} is no {kind.__name__}: {error}") from None

    return read


def _enum(kind: type[Enum]) -> Reader:
    members = _by_text((member.value, member) for member in kind)

    def read(plain: object) -> object:
        try:
            return members[write_plain(plain)]
        except KeyError:
            if issubclass(kind, Flag) and type(plain) is int:
                return _converted(None, kind)(plain)
            raise expected(f"a member of {kind.__qualname__}", plain) from None

    return read


def _literal(values: Iterable[object]) -> Reader:
    members = _by_text((value, value) for value in values)

    def read(plain: object) -> object:
        try:
            return members[write_plain(plain)]
        except KeyError:
            shown = ", ".join(map(repr, members.values()))
            raise expected(f"one of {shown}", plain) from None

    return read


def _by_text(members: Iterable[tuple[object, M]]) -> dict[str, M]:
    """Key by JSON text, which tells 1 from True and 1.0."""
    try:
        return {write_plain(to_plain(value, MAX_DEPTH)): member for value, member in members}
    except Refused as refusal:
        raise Unreadable(f"one of its values cannot be stored: {refusal.why}") from None


def _converted(reader: Reader | None, make: Callable[..., object]) -> Reader:
    def read(plain: object) -> object:
        try:
            return make(_apply(reader, plain))
        except (TypeError, ValueError) as error:
            raise Unreadable(f"{_shown(make)} refused it: {reason_text(error)}") from None

    return read


def _read_items(plain: Iterable[object], item: Reader) -> list[object]:
    values: list[object] = []
    try:
        for element in plain:
            values.append(item(element))  # noqa: PERF401 - its length is the place
    except Unreadable as error:
        error.inside(f"[{len(values)}]")
        raise
    return values


def _read_entries(
    plain: dict[str, object], key: Reader | None, item: Reader | None
) -> dict[object, object]:
    values: dict[object, object] = {}
    name = ""
    try:
        for name, element in plain.items():
            values[_apply(key, name)] = _apply(item, element)
    except Unreadable as error:
        error.inside(key_segment(name))
        raise
    return values


def _shown(annotation: object) -> str:
    if isinstance(annotation, type):
        return annotation.__qualname__
    return repr(annotation).replace("typing.", "")
