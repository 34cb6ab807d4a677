"""Rows of a Parquet file, across its row groups."""

import builtins
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.errors import InvalidOptionError, MissingExtraError, ReaderError
from flowstone.plugins.readers_files import ParquetReader
from flowstone.plugins.readers_files.plugin import FileReadersPlugin
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from flowstone.testing.contracts.plugin_contract import PluginContract
from tests.plugins.reading import crashing_after_each_page, pages_of

ROWS = [
    {"id": it, "day": date(2025, 1, 1 + it), "price": Decimal(f"{it}.50"), "tags": ["a", None]}
    for it in range(8)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of three row groups: of three, three and two rows."""
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=3)
    return path


class TestContract(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return ParquetReader()

    @pytest.fixture
    async def config(self, file: Path) -> Mapping[str, object]:
        return {"path": file}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return ROWS


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return FileReadersPlugin()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
async def test_a_crash_after_or_within_any_page_loses_and_repeats_nothing(
    file: Path, size: int
) -> None:
    assert await crashing_after_each_page(ParquetReader, {"path": file, "page_size": size}) == ROWS


async def test_columns_are_chosen(file: Path) -> None:
    pages = await pages_of(ParquetReader, {"path": file, "columns": ["id"], "max_items": 2})

    assert [it for page in pages for it in page.items] == [{"id": 0}, {"id": 1}]
    with pytest.raises(InvalidOptionError, match="no column 'nr'; it has id, day, price, tags"):
        await pages_of(ParquetReader, {"path": file, "columns": ["nr"]})


async def test_a_file_without_rows_has_no_items(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": pyarrow.array([], pyarrow.int64())}), path)

    [page] = await pages_of(ParquetReader, {"path": path})

    assert (page.items, page.is_last) == ([], True)


async def test_a_file_that_was_replaced_is_not_gone_on_with(file: Path) -> None:
    [first] = await pages_of(ParquetReader, {"path": file, "page_size": 2}, upto=1)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS[:5]), file)

    with pytest.raises(ReaderError, match="was replaced while it was read: it had 8 rows"):
        await pages_of(ParquetReader, {"path": file}, first.progress)


async def test_what_is_no_parquet_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("abc")

    for name in ("a.parquet", "none.parquet"):
        with pytest.raises(ReaderError, match=f"{name} cannot be read"):
            await pages_of(ParquetReader, {"path": tmp_path / name})


async def test_without_its_library_it_says_what_to_install(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def importing(name: str, *given: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name=name)
        return imported(name, *given)

    monkeypatch.setattr(builtins, "__import__", importing)

    with pytest.raises(MissingExtraError, match=r"pip install 'flowstone\[parquet\]'"):
        await pages_of(ParquetReader, {"path": file})
