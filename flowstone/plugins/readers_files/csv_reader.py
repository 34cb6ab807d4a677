"""The item reader of a CSV file."""

import codecs
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from flowstone.core.contracts.item_reader import Read
from flowstone.core.errors import InvalidOptionError, StorageError
from flowstone.core.reader_options import options_of
from flowstone.plugins.readers_files.counted_lines import CountedLines
from flowstone.plugins.readers_files.lines_state import LinesReader, LinesState, opened


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """What `CsvReader` takes; see there."""

    path: str | os.PathLike[str]
    delimiter: str = ","
    quotechar: str = '"'
    encoding: str = "utf-8"
    fields: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("delimiter", "quotechar"):
            if len(getattr(self, name)) != 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one character")
        try:
            encoding = codecs.lookup(self.encoding).name
        except LookupError:
            raise ValueError(f"encoding={self.encoding!r} is not known") from None
        if encoding.startswith(("utf-16", "utf-32")):
            raise ValueError(f"encoding={self.encoding!r}: its lines do not end in a byte")


State: TypeAlias = LinesState[CsvOptions]


class CsvReader(LinesReader[CsvOptions]):
    """
    Reads the records of a CSV file as ``{"field": "text"}``.

    A quoted text may go over several lines. A record that has more or fewer fields than there are
    names is an error with its line; so are two fields of one name. What is appended while it is
    read is read too.

    Configuration:
        path: The file; ``.gz`` is decompressed.
        delimiter: Between two fields.
        quotechar: Around a text that has delimiters or line ends; twice in it, it is itself.
        encoding: One in which a line ends in the byte 10.
        fields: The names, if the first record is not them.
    """

    def _open(self, config: Mapping[str, object]) -> State:
        options = options_of(CsvOptions, config)
        lines = opened(options.path)
        fields = options.fields
        if fields is None:
            try:
                fields = next(_records(lines, options), [])
            except BaseException:
                lines.close()
                raise
        twice = sorted(name for name in set(fields) if list(fields).count(name) > 1)
        if twice:
            lines.close()
            raise InvalidOptionError(
                f"{os.fspath(options.path)} has two fields named {twice[0]!r}, of which one would "
                "be lost: rename it"
            )
        return LinesState(options, lines, lines.place, tuple(fields))

    def _read(self, state: State, limit: int) -> Read[State]:
        lines, items = state.lines, list[object]()
        lines.go_to(state.place)
        place = state.place
        for record in _records(lines, state.options):
            place = lines.place
            if record:  # an empty line is none
                items.append(self._item(record, state, place.line))
            if len(items) == limit:
                return Read(items, replace(state, place=place))
        return Read(items, replace(state, place=lines.place), is_last=True)

    def _item(self, record: Sequence[str], state: State, line: int) -> Mapping[str, str]:
        if len(record) != len(state.fields):
            raise StorageError(
                f"{os.fspath(state.options.path)}, line {line} has {len(record)} fields, and there "
                f"are {len(state.fields)} names: {', '.join(state.fields)}"
            )
        return dict(zip(state.fields, record, strict=True))


def _records(lines: CountedLines, options: CsvOptions) -> Iterator[list[str]]:
    """Yield records; the reader of the csv module takes no more lines than a record has."""
    rows = csv.reader(
        _texts(lines, options),
        delimiter=options.delimiter,
        quotechar=options.quotechar,
        strict=True,
    )
    try:
        yield from rows
    except csv.Error as error:
        raise StorageError(
            f"{os.fspath(options.path)}, line {lines.place.line} is not CSV: {error}"
        ) from error


def _texts(lines: CountedLines, options: CsvOptions) -> Iterator[str]:
    is_utf8 = codecs.lookup(options.encoding).name == "utf-8"
    for line in lines:
        is_first = lines.place.line == 1
        try:
            yield line.decode("utf-8-sig" if is_first and is_utf8 else options.encoding)
        except UnicodeDecodeError as error:
            raise StorageError(
                f"{os.fspath(options.path)}, line {lines.place.line} is not {options.encoding}: "
                f"{error}"
            ) from error
