"""Why stored data is not what a reader expects, with its place."""

from collections.abc import Callable
from typing import TypeAlias

from flowstone.core.defaults.json_writing import path_text
from flowstone.core.errors import ValueNotReadableError

Reader: TypeAlias = Callable[[object], object]
"""Makes the value of plain JSON data, or raises `Unreadable`."""


class Unreadable(Exception):
    """Data does not fit; gathers its place on the way out."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self._segments: list[str] = []

    def inside(self, segment: str) -> None:
        """Note that it happened one step further inside."""
        self._segments.append(segment)

    def readable_error(self) -> ValueNotReadableError:
        """Return the error to raise."""
        return ValueNotReadableError(self.why, path=path_text(self._segments[::-1]))


def expected(what: str, plain: object) -> Unreadable:
    """Return that something else is stored, without showing all of it."""
    shown = ascii(plain)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    return Unreadable(f"{what} is expected, but {shown} is stored")
