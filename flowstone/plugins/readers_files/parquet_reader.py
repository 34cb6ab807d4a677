"""The item reader of a Parquet file."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError, MissingExtraError, StorageError
from flowstone.core.json_value import JsonValue
from flowstone.core.reader_options import options_of

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile


@dataclass(frozen=True, kw_only=True)
class ParquetOptions:
    """What `ParquetReader` takes; see there."""

    path: str | os.PathLike[str]
    columns: Sequence[str] | None = None


class RowGroups:
    """An open file; one of its row groups is in memory at a time."""

    def __init__(self, file: "ParquetFile", columns: Sequence[str] | None) -> None:
        self._file = file
        self._columns = None if columns is None else [*columns]
        self._table: Table | None = None
        self._index = -1
        metadata = file.metadata
        self.rows: int = metadata.num_rows
        self._sizes = [metadata.row_group(it).num_rows for it in range(metadata.num_row_groups)]

    def items(self, first: int, limit: int) -> list[object]:
        """Return rows by their number; no more than those that are left of a row group."""
        index = 0
        while index < len(self._sizes) and first >= self._sizes[index]:
            first -= self._sizes[index]
            index += 1
        if index == len(self._sizes):
            return []
        if self._table is None or index != self._index:
            self._table = self._file.read_row_group(index, columns=self._columns)
            self._index = index
        rows: list[object] = self._table.slice(first, limit).to_pylist()
        return rows

    def close(self) -> None:
        """Close the file."""
        self._table = None
        self._file.close()


@dataclass(frozen=True, slots=True)
class ParquetState:
    """How a reading stands: so many rows were read."""

    options: ParquetOptions
    groups: RowGroups
    row: int = 0


class ParquetReader(ItemReader[ParquetState]):
    """
    Reads the rows of a Parquet file as ``{"column": value}``.

    One row group is in memory at a time.

    Configuration:
        path: The file.
        columns: Which columns; without it, all.
    """

    contract_version = "1.0.0"

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> ParquetState:
        """Return the state before the first row; see `ItemReader.init`."""
        options = options_of(ParquetOptions, config)
        return ParquetState(options, await asyncio.to_thread(_open, options))

    async def read(self, state: ParquetState, limit: int) -> Read[ParquetState]:
        """Return the next rows; see `ItemReader.read`."""
        items = await asyncio.to_thread(state.groups.items, state.row, limit)
        row = state.row + len(items)
        return Read(items, replace(state, row=row), is_last=row == state.groups.rows)

    async def count(self, state: ParquetState) -> int | None:
        """Return the number of rows."""
        return state.groups.rows

    def checkpoint(self, state: ParquetState) -> JsonValue:
        """Return how many rows were read, of how many."""
        return {"row": state.row, "rows": state.groups.rows}

    async def restore(self, state: ParquetState, checkpoint: JsonValue) -> ParquetState:
        """Return the state after so many rows."""
        match checkpoint:
            case {"row": int(row), "rows": int(rows)}:
                if rows == state.groups.rows:
                    return replace(state, row=row)
                raise StorageError(
                    f"{os.fspath(state.options.path)} was replaced while it was read: it had "
                    f"{rows} rows, and has {state.groups.rows}"
                )
        raise InvalidOptionError(f"{checkpoint!r} is no position in a Parquet file")

    async def close(self, state: ParquetState) -> None:
        """Close the file."""
        await asyncio.to_thread(state.groups.close)


def _open(options: ParquetOptions) -> RowGroups:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise MissingExtraError("the reader of Parquet files", "parquet") from error
    path = Path(options.path)
    try:
        file = ParquetFile(path)
    except (OSError, ArrowInvalid) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    unknown = [it for it in options.columns or () if it not in file.schema_arrow.names]
    if unknown:
        names = ", ".join(file.schema_arrow.names)
        file.close()
        raise InvalidOptionError(f"{path} has no column '{unknown[0]}'; it has {names}")
    return RowGroups(file, options.columns)
