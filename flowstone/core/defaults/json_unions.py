"""
Unions: which member a stored value is.

JSON does not say which member wrote it, so every member tries. One that accepts is the answer;
several that make the same of it are, too. Where texts could stand for two members, ``date | str``,
the annotation is refused outright rather than the data that happens to be ambiguous.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from types import NoneType

from flowstone.core.defaults.json_scalars import READERS
from flowstone.core.defaults.unreadable import Reader, Unreadable, expected


def union_reader(
    members: Sequence[object], of: Callable[[object], Reader | None], shown: str
) -> Reader | None:
    """
    Return the reader of a union, or None when one of its members is plain JSON.

    Args:
        members: Its annotations, flat.
        of: Compiles a member.
        shown: The annotation, for messages.

    Raises:
        Unreadable: Two members cannot be told apart.
    """
    _check_texts(members, shown)
    others = [member for member in members if member is not NoneType]
    readers = [of(member) for member in others]
    if any(reader is None for reader in readers):
        return None
    known = [reader for reader in readers if reader is not None]
    if int in others and float in others:
        known[others.index(float)] = _exact_float
    read = known[0] if len(known) == 1 else _attempts(known, shown)
    if len(others) == len(members):
        return read
    return lambda plain: None if plain is None else read(plain)


def _attempts(readers: Sequence[Reader], shown: str) -> Reader:
    def read(plain: object) -> object:
        results: list[object] = []
        reasons: list[str] = []
        for reader in readers:
            try:
                results.append(reader(plain))
            except Unreadable as error:
                reasons.append(str(error.readable_error()).partition(": at ")[2])
        if not results:
            raise Unreadable(f"it is none of {shown} ({'; '.join(reasons)})")
        first, *rest = results
        if not all(_is_same(first, other) for other in rest):
            raise Unreadable(
                f"it can be more than one of {shown}; give the members a field of their own, such "
                "as kind: Literal['a']"
            )
        return first

    return read


def _check_texts(members: Sequence[object], shown: str) -> None:
    if str not in members:
        return
    for member in members:
        if isinstance(member, type) and (member in READERS or _is_text_enum(member)):
            raise Unreadable(
                f"str and {member.__qualname__} are both stored as text and cannot be told apart: "
                f"{shown} is not an annotation for a stored value"
            )


def _is_text_enum(kind: type) -> bool:
    return issubclass(kind, Enum) and any(isinstance(member.value, str) for member in kind)


def _exact_float(plain: object) -> object:
    if type(plain) is not float:
        raise expected("a float", plain)
    return plain


def _is_same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other and repr(one) == repr(other)
