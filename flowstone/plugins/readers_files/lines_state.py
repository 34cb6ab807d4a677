"""What the readers of text files have in common: how they stand, go on and end."""

import asyncio
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.json_value import JsonValue
from flowstone.plugins.readers_files.counted_lines import CountedLines, Place

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class LinesState(Generic[Options]):
    """
    How a reading stands.

    Attributes:
        fields: The names of a record's fields, where the file says them once.
    """

    options: Options
    lines: CountedLines
    place: Place
    fields: tuple[str, ...] = ()


class LinesReader(ItemReader[LinesState[Options]], Generic[Options]):
    """Reads records that are one or more lines of a file."""

    contract_version = "1.0.0"

    async def init(
        self, config: Mapping[str, object], deps: Mapping[str, object]
    ) -> LinesState[Options]:
        """Return the state before the first record; see `ItemReader.init`."""
        return await asyncio.to_thread(self._open, config)

    async def read(self, state: LinesState[Options], limit: int) -> Read[LinesState[Options]]:
        """Return the next records; see `ItemReader.read`."""
        return await asyncio.to_thread(self._read, state, limit)

    def checkpoint(self, state: LinesState[Options]) -> JsonValue:
        """Return the place behind the last record."""
        return state.place.dump()

    async def restore(
        self, state: LinesState[Options], checkpoint: JsonValue
    ) -> LinesState[Options]:
        """Return the state at a place, if the file is still the same up to there."""
        place = Place.parse(checkpoint)
        await asyncio.to_thread(state.lines.go_to, place)
        return replace(state, place=place)

    async def close(self, state: LinesState[Options]) -> None:
        """Close the file."""
        await asyncio.to_thread(state.lines.close)

    @abstractmethod
    def _open(self, config: Mapping[str, object]) -> LinesState[Options]: ...

    @abstractmethod
    def _read(self, state: LinesState[Options], limit: int) -> Read[LinesState[Options]]: ...


def opened(path: str | os.PathLike[str]) -> CountedLines:
    """Open a file by its path."""
    return CountedLines(Path(path))
