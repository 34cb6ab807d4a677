"""The item reader of a file with one JSON value per line."""

import codecs
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from flowstone.core.contracts.item_reader import Read
from flowstone.core.errors import StorageError
from flowstone.core.reader_options import options_of
from flowstone.plugins.readers_files.lines_state import LinesReader, LinesState, opened


@dataclass(frozen=True, kw_only=True)
class JsonLinesOptions:
    """What `JsonLinesReader` takes; see there."""

    path: str | os.PathLike[str]


State: TypeAlias = LinesState[JsonLinesOptions]


class JsonLinesReader(LinesReader[JsonLinesOptions]):
    """
    Reads the values of a JSON-lines file, each as it is; empty lines are none.

    What is appended while it is read is read too. A line that is not JSON is an error with its
    number.

    Configuration:
        path: The file, in UTF-8; ``.gz`` is decompressed.
    """

    def _open(self, config: Mapping[str, object]) -> State:
        options = options_of(JsonLinesOptions, config)
        lines = opened(options.path)
        return LinesState(options, lines, lines.place)

    def _read(self, state: State, limit: int) -> Read[State]:
        lines, items = state.lines, list[object]()
        lines.go_to(state.place)
        for line in lines:
            number = lines.place.line
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if content.strip():
                items.append(self._item(content, number, state.options))
            if len(items) == limit:
                return Read(items, replace(state, place=lines.place))
        return Read(items, replace(state, place=lines.place), is_last=True)

    def _item(self, line: bytes, number: int, options: JsonLinesOptions) -> object:
        try:
            return json.loads(line.decode("utf-8"))
        except ValueError as error:
            raise StorageError(
                f"{os.fspath(options.path)}, line {number} is not JSON: {error}"
            ) from error
