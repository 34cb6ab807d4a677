"""The stable name beside an asset's files: whoever writes or deletes, it is the newest."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from flowstone.plugins.io_files import FilesIO, latest_link
from tests.plugins.io_files.stored_files import ADDRESS, files, path_of


@pytest.fixture
def io(tmp_path: Path) -> FilesIO:
    return FilesIO(tmp_path, latest=True, raw_bytes=True, compress_above=1)


async def test_it_is_the_newest_whoever_comes_last(io: FilesIO) -> None:
    for id_, claim in [(7, 1), (9, 1), (9, 2), (8, 5), (9, 1)]:
        await io.store(replace(ADDRESS, materialization_id=id_, claim=claim), [id_, claim])

    latest = io.root / "sales.report" / "d%3a2025-01-15" / "latest.json"
    assert json.loads(latest.read_text()) == [9, 2]


async def test_it_goes_back_when_the_newest_is_discarded_and_goes_with_the_last(
    io: FilesIO, tmp_path: Path
) -> None:
    places = [(await io.store(replace(ADDRESS, claim=it), it)).location for it in (1, 2)]
    latest = tmp_path / "sales.report" / "d%3a2025-01-15" / "latest.json"

    await io.delete(places[1])
    assert latest.read_text() == "1"
    await io.delete(places[0])

    assert files(tmp_path) == []


async def test_who_deletes_its_file_need_not_have_been_told_to_keep_it(
    io: FilesIO, tmp_path: Path
) -> None:
    places = [(await io.store(replace(ADDRESS, claim=it), it)).location for it in (1, 2)]

    await FilesIO(tmp_path).delete(places[1])

    latest = tmp_path / "sales.report" / "d%3a2025-01-15" / "latest.json"
    assert latest.read_text() == "1"


async def test_its_suffix_is_that_of_what_it_shows(io: FilesIO) -> None:
    path = await path_of(io, ADDRESS, "x" * 1_000)
    await io.store(replace(ADDRESS, claim=2), b"\x00")

    assert path.suffix == ".json", "it is not compressed"
    names = {it.name for it in path.parent.iterdir() if it.is_symlink()}
    assert names == {"latest.bin"}


async def test_a_newer_one_that_comes_in_between_is_seen_afterwards(
    io: FilesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, newer = latest_link._link, replace(ADDRESS, claim=2)

    def overtaken(path: Path, target: str) -> None:
        """Another process writes a newer file, and links it, before this link is made."""
        monkeypatch.setattr(latest_link, "_link", link)
        asyncio.run(io.store(newer, "newer"))
        link(path, target)

    monkeypatch.setattr(latest_link, "_link", overtaken)

    path = await path_of(io, ADDRESS, "older")

    assert (path.parent / "latest.json").read_text() == '"newer"'


async def test_written_by_many_at_once_it_ends_at_the_newest(io: FilesIO) -> None:
    claims = [11, 3, 19, 7, 1, 16, 4, 12, 20, 8, 2, 15, 5, 13, 6, 17, 9, 14, 10, 18]

    await asyncio.gather(*(io.store(replace(ADDRESS, claim=it), it) for it in claims))

    latest = io.root / "sales.report" / "d%3a2025-01-15" / "latest.json"
    assert latest.read_text() == "20"
