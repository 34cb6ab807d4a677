"""
The lines of a file, and where each ends, so that reading goes on there another day.

A position has, beside the place, the length and a digest of the line before it: a file that was
appended to still fits, one that was replaced does not.
"""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from flowstone.core.errors import InvalidOptionError, StorageError
from flowstone.core.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class Place:
    """
    Between two lines.

    Attributes:
        offset: In bytes, of the content if the file is compressed.
        line: How many lines come before.
        length: Of the line before, in bytes; 0 at the beginning.
        digest: Of the line before.
    """

    offset: int = 0
    line: int = 0
    length: int = 0
    digest: str = ""

    def after(self, line: bytes) -> Self:
        """Return the place after one more line."""
        return type(self)(self.offset + len(line), self.line + 1, len(line), _digest(line))

    def dump(self) -> JsonValue:
        """Return it as JSON."""
        return {
            "offset": self.offset,
            "line": self.line,
            "length": self.length,
            "digest": self.digest,
        }

    @classmethod
    def parse(cls, position: JsonValue) -> Self:
        """
        Return what `dump` wrote.

        Raises:
            InvalidOptionError: It is something else.
        """
        match position:
            case {
                "offset": int(offset),
                "line": int(line),
                "length": int(length),
                "digest": str(digest),
            }:
                return cls(offset, line, length, digest)
        raise InvalidOptionError(f"{position!r} is no place in a file")


class CountedLines:
    """
    An open file, read line by line; one that ends in ``.gz`` is decompressed.

    Raises:
        StorageError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            opened = opener(path, "rb")
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error}") from error
        self._file = cast("BinaryIO", opened)
        self.place = Place()

    def go_to(self, place: Place) -> None:
        """
        Stand there.

        Raises:
            StorageError: The file is not the one that the place is in.
        """
        if place == self.place:
            return
        self._file.seek(place.offset - place.length)
        line = self._file.read(place.length)
        if place.length and _digest(line) != place.digest:
            raise StorageError(
                f"{self.path} was replaced while it was read: line {place.line} is another one"
            )
        self.place = place

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines from here, with their ends; `place` is behind the last one."""
        while line := self._file.readline():
            self.place = self.place.after(line)
            yield line

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=8).hexdigest()
