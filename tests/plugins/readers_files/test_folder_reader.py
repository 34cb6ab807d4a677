"""The files below a folder: in one order, whatever happens to the folder meanwhile."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.errors import InvalidOptionError, ReaderError
from flowstone.plugins.readers_files import FolderReader, folder_reader
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from tests.plugins.reading import crashing_after_each_page, pages_of

PATHS = ["a.txt", "a/b.txt", "a/b/c.txt", "a/b/d.txt", "b.txt", "sub/x.txt", "z/z/z/z.txt"]


def fill(root: Path, paths: Sequence[str]) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path, PATHS)
    return tmp_path


class TestContract(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return FolderReader()

    @pytest.fixture
    async def config(self, root: Path) -> Mapping[str, object]:
        return {"root": root}

    @pytest.fixture
    async def items(self, root: Path) -> Sequence[object]:
        found = sorted(PATHS, key=lambda it: it.split("/"))
        return [{"path": it, "size_bytes": len(it)} for it in found]


class TestFiltered(TestContract):
    @pytest.fixture
    async def config(self, root: Path) -> Mapping[str, object]:
        fill(root, [f"{name}/{name}.jpg" for name in "abcsz"])
        return {"root": root, "pattern": "*.txt"}


async def paths(config: Mapping[str, Any], progress: Any = None, upto: int = 99) -> list[str]:
    pages = await pages_of(FolderReader, config, progress, upto)
    return [item["path"] for page in pages for item in page.items]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_crash_after_or_within_any_page_loses_and_repeats_nothing(
    root: Path, size: int
) -> None:
    items = await crashing_after_each_page(FolderReader, {"root": root, "page_size": size})

    assert sorted(it["path"] for it in items) == sorted(PATHS)


async def test_a_pattern_goes_for_the_whole_path(root: Path) -> None:
    assert await paths({"root": root, "pattern": "a/*"}) == ["a/b/c.txt", "a/b/d.txt", "a/b.txt"]
    assert await paths({"root": root, "pattern": "*.jpg"}) == []


async def test_what_happens_before_the_place_moves_it_not(root: Path) -> None:
    config = {"root": root, "page_size": 3}
    [first] = await pages_of(FolderReader, config, upto=1)
    seen = [it["path"] for it in first.items]
    (root / seen[-1]).unlink()
    (root / seen[0]).unlink()
    fill(root, ["0.txt", "zz.txt"])

    rest = await paths(config, first.progress)

    expected = {*PATHS, "zz.txt"} - {*seen}
    assert sorted(rest) == sorted(expected)


async def test_links_are_left_out_and_not_followed(root: Path) -> None:
    (root / "link.txt").symlink_to(root / "b.txt")
    (root / "loop").symlink_to(root)

    assert sorted(await paths({"root": root})) == sorted(PATHS)


async def test_a_long_way_without_a_find_is_kept_on_the_way(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_reader, "LOOKED_AT", 2)
    pages = await pages_of(FolderReader, {"root": root, "pattern": "z/*"})

    assert [len(page.items) for page in pages] == [0, 0, 0, 1]
    assert await paths({"root": root, "pattern": "z/*"}, pages[1].progress) == ["z/z/z/z.txt"]


async def test_names_that_are_no_text_are_said_by_their_bytes_and_passed_by(root: Path) -> None:
    (root / os.fsdecode(b"c-\xff.bin")).write_bytes(b"")

    with pytest.raises(ReaderError, match=r"not UTF-8: b'c-\\xff.bin'"):
        await paths({"root": root, "page_size": 1})

    items = await crashing_after_each_page(
        FolderReader, {"root": root, "pattern": "*.txt", "page_size": 1}
    )
    assert len(items) == len(PATHS)


async def test_a_missing_folder_and_a_wrong_option_are_said(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"there is no folder .*/none"):
        await paths({"root": tmp_path / "none"})
    with pytest.raises(InvalidOptionError, match="there is no 'patern', did you mean 'pattern'"):
        await paths({"root": tmp_path, "patern": "*"})
