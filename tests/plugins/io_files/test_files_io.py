"""What is particular to files: how they look, what happens to them, and to the disk."""

import asyncio
import errno
import gzip
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NewType

import pytest

from flowstone.core.errors import (
    InvalidOptionError,
    NotStoredError,
    StorageError,
    ValueNotReadableError,
    ValueNotStorableError,
)
from flowstone.plugins.io_files import FilesIO, whole_file
from flowstone.plugins.io_files.files_io import THREADS
from tests.plugins.io_files.stored_files import ADDRESS, files, path_of

Blob = NewType("Blob", bytes)


@pytest.fixture
def io(tmp_path: Path) -> FilesIO:
    return FilesIO(tmp_path)


class TestWhatLiesThere:
    async def test_one_file_of_plain_json_and_nothing_beside_it(
        self, io: FilesIO, tmp_path: Path
    ) -> None:
        await io.store(ADDRESS, {"total": 3})

        assert files(tmp_path) == ["sales.report/d%3a2025-01-15/7-1-3f2a.json"]
        text = (tmp_path / files(tmp_path)[0]).read_text("utf-8")
        assert json.loads(text) == {"total": 3}

    async def test_the_location_is_below_the_root_so_that_the_root_may_move(
        self, tmp_path: Path
    ) -> None:
        written = await FilesIO(tmp_path / "before").store(ADDRESS, "it")
        (tmp_path / "before").rename(tmp_path / "after")

        assert await FilesIO(tmp_path / "after").load(written.location) == "it"

    async def test_it_can_be_read_by_whom_the_umask_lets(self, io: FilesIO) -> None:
        mask = os.umask(0o022)
        try:
            path = await path_of(io, ADDRESS, 1)
        finally:
            os.umask(mask)

        assert path.stat().st_mode & 0o777 == 0o644

    async def test_what_is_large_is_compressed_if_that_pays(self, tmp_path: Path) -> None:
        io = FilesIO(tmp_path, compress_above=1_000, raw_bytes=True)
        small = await path_of(io, ADDRESS, "x" * 900)
        large = await path_of(io, replace(ADDRESS, claim=2), "x" * 1_000)
        dense = await path_of(io, replace(ADDRESS, claim=3), os.urandom(2_000))

        assert [it.suffixes for it in (small, large, dense)] == [
            [".json"],
            [".json", ".gz"],
            [".bin"],
        ]
        assert json.loads(gzip.decompress(large.read_bytes())) == "x" * 1_000

    async def test_facts_about_a_file(self, io: FilesIO) -> None:
        written = await io.store(ADDRESS, "four")

        facts = await io.metadata(written.location)

        assert facts["size_bytes"] == written.size_bytes == 6
        assert facts["is_compressed"] is False
        assert str(facts["path"]).endswith("7-1-3f2a.json")


class TestBytes:
    @pytest.mark.parametrize(
        "annotation",
        [bytes, object, Any, bytes | None, Blob, Annotated[bytes, "x"]],
        ids=str,
    )
    async def test_they_lie_there_as_they_are(self, tmp_path: Path, annotation: object) -> None:
        io = FilesIO(tmp_path, raw_bytes=True)
        path = await path_of(io, ADDRESS, b"\x89PNG")

        assert path.read_bytes() == b"\x89PNG"
        location = {"path": str(path.relative_to(tmp_path))}
        assert await io.load(location, annotation) == b"\x89PNG"

    @pytest.mark.parametrize("annotation", [str, list[bytes], dict[str, bytes]], ids=str)
    async def test_a_reader_of_something_else_is_refused(
        self, tmp_path: Path, annotation: object
    ) -> None:
        io = FilesIO(tmp_path, raw_bytes=True)
        written = await io.store(ADDRESS, b"x")

        with pytest.raises(ValueNotReadableError, match="its reader must take bytes"):
            await io.load(written.location, annotation)

    async def test_without_the_option_they_are_json_like_everything(self, io: FilesIO) -> None:
        written = await io.store(ADDRESS, b"\xff")

        assert (await path_of(io, ADDRESS, b"\xff")).suffix == ".json"
        assert await io.load(written.location, bytes) == b"\xff"

    async def test_an_application_that_writes_them_otherwise_reads_what_is_there(
        self, tmp_path: Path
    ) -> None:
        written = [await FilesIO(tmp_path, raw_bytes=raw).store(ADDRESS, b"x") for raw in (1, 0)]

        for raw in (True, False):
            io = FilesIO(tmp_path, raw_bytes=raw)
            assert [await io.load(it.location, bytes) for it in written] == [b"x", b"x"]


class TestWhole:
    async def test_a_write_that_fails_leaves_nothing(
        self, io: FilesIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            assert len(files(tmp_path)) == 2, "it is on its way"
            raise OSError(errno.ENOSPC, "No space left on device")

        await io.store(ADDRESS, "before")
        monkeypatch.setattr(whole_file.os, "fsync", full)

        with pytest.raises(StorageError, match="No space left on device; make room") as caught:
            await io.store(replace(ADDRESS, claim=2), "x")

        assert caught.value.retryable
        assert files(tmp_path) == ["sales.report/d%3a2025-01-15/7-1-3f2a.json"]

    async def test_file_and_folders_are_synchronized_before_it_is_told(
        self, io: FilesIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synchronized: list[str] = []
        fsync = os.fsync

        def note(handle: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{handle}"))
            synchronized.append(path.name if path.is_dir() else path.suffix)
            fsync(handle)

        monkeypatch.setattr(whole_file.os, "fsync", note)

        await io.store(ADDRESS, "x")

        assert synchronized == [tmp_path.name, "sales.report", ".tmp", "d%3a2025-01-15"]

    async def test_a_value_that_cannot_be_stored_touches_nothing(
        self, io: FilesIO, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueNotStorableError):
            await io.store(ADDRESS, float("nan"))

        assert files(tmp_path) == []

    async def test_a_folder_that_is_removed_just_before_is_made_again(
        self, io: FilesIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened, removed = os.open, []

        def open_(path: Path, flags: int, *mode: int) -> int:
            if flags & os.O_CREAT and not removed:
                removed.append(path.parent)
                whole_file.remove_empty(path.parent, tmp_path)
            return opened(path, flags, *mode)

        monkeypatch.setattr(whole_file.os, "open", open_)

        written = await io.store(ADDRESS, "x")

        assert await io.load(written.location) == "x"

    async def test_folders_that_are_removed_while_files_come_and_go_lose_none(
        self, io: FilesIO
    ) -> None:
        async def come_and_go(id_: int) -> None:
            for claim in range(30):
                written = await io.store(replace(ADDRESS, materialization_id=id_, claim=claim), id_)
                assert await io.load(written.location) == id_
                await io.delete(written.location)

        await asyncio.gather(*(come_and_go(id_) for id_ in range(8)))

        assert list(io.root.iterdir()) == []

    @pytest.mark.parametrize("once_more", [True, False], ids=["found", "made"])
    async def test_a_folder_that_goes_as_soon_as_it_is_there_is_made_again(
        self, io: FilesIO, monkeypatch: pytest.MonkeyPatch, once_more: bool
    ) -> None:
        make, gone = Path.mkdir, list[Path]()

        def make_and_lose(folder: Path) -> None:
            try:
                make(folder)
                if once_more:
                    make(folder)
            finally:
                if folder.name == "d%3a2025-01-15" and folder.is_dir() and not gone:
                    gone.append(folder)
                    whole_file.remove_empty(folder, io.root)

        monkeypatch.setattr(Path, "mkdir", make_and_lose)

        written = await io.store(ADDRESS, "x")

        assert len(gone) == 1
        assert await io.load(written.location) == "x"


class TestWhatWasDoneToIt:
    async def test_a_file_that_is_gone_is_an_error_that_says_which(self, io: FilesIO) -> None:
        written = await io.store(ADDRESS, "x")
        (await path_of(io, ADDRESS, "x")).unlink()

        with pytest.raises(NotStoredError, match=r"7-1-3f2a\.json is gone.*invalidate"):
            await io.load(written.location)
        with pytest.raises(NotStoredError):
            await io.metadata(written.location)

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b'"y"', "SHA-256"), (b'"xx"', "3 bytes were written, and it has 4"), (b"", "it has 0")],
    )
    async def test_a_file_that_was_changed_is_an_error_and_no_value(
        self, io: FilesIO, content: bytes, message: str
    ) -> None:
        written = await io.store(ADDRESS, "x")
        (await path_of(io, ADDRESS, "x")).write_bytes(content)

        with pytest.raises(ValueNotReadableError, match=f"was changed: .*{message}"):
            await io.load(written.location)

    @pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", None, 3])
    async def test_a_location_leads_nowhere_but_below_the_root(
        self, io: FilesIO, path: Any
    ) -> None:
        for ask in (io.load, io.exists, io.delete, io.metadata):
            with pytest.raises(StorageError, match="no place below"):
                await ask({"path": path})

    async def test_a_folder_that_is_a_file_is_told_with_its_path(
        self, io: FilesIO, tmp_path: Path
    ) -> None:
        (tmp_path / "sales.report").write_text("in the way")

        with pytest.raises(StorageError, match=r"cannot write .*sales\.report") as caught:
            await io.store(ADDRESS, "x")

        assert not caught.value.retryable

    @pytest.mark.parametrize(
        ("number", "advice", "passes"),
        [
            (errno.ENOSPC, "No space left on device; make room", True),
            (errno.EDQUOT, "Disk quota exceeded; make room", True),
            (errno.ESTALE, "Stale file handle", True),
            (errno.EACCES, "Permission denied; the worker's user needs", False),
            (errno.EROFS, "Read-only file system; mount it writable", False),
        ],
    )
    async def test_what_the_system_refuses_is_told_with_the_place_and_what_helps(
        self,
        io: FilesIO,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        advice: str,
        passes: bool,
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(whole_file.os, "open", refuse)

        with pytest.raises(StorageError, match=rf"cannot write {io.root}.*{advice}") as caught:
            await io.store(ADDRESS, "x")

        assert caught.value.retryable is passes

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_of_somebody_elses_is_told_with_what_helps(
        self, io: FilesIO, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o500)

        with pytest.raises(StorageError, match="Permission denied; the worker's user needs"):
            asyncio.run(io.store(ADDRESS, "x"))

    async def test_a_path_that_is_too_long_is_told(self, tmp_path: Path) -> None:
        io = FilesIO(tmp_path.joinpath(*["deep" * 50] * 20))

        with pytest.raises(StorageError, match="choose a shorter root") as caught:
            await io.store(ADDRESS, "x")

        assert not caught.value.retryable


class TestAShareThatHangs:
    async def test_it_takes_nobody_elses_threads(
        self, io: FilesIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers, begun = threading.Event(), []

        def hang(path: Path, _: bytes) -> None:
            begun.append(path)
            answers.wait(30)

        monkeypatch.setattr(whole_file, "write", hang)
        hanging = [
            asyncio.create_task(io.store(replace(ADDRESS, claim=claim), claim))
            for claim in range(60)
        ]

        async with asyncio.timeout(20):
            while len(begun) < THREADS:
                await asyncio.sleep(0.001)
            assert await asyncio.to_thread(lambda: "free") == "free"

        assert not any(it.done() for it in hanging)
        answers.set()
        await asyncio.gather(*hanging)


class TestListing:
    async def test_partitions_come_back_as_they_were_however_long(self, io: FilesIO) -> None:
        wanted = sorted(["", "EU", "eu", "ü/..", "x" * 600, "X" * 600, "s:" + "aA" * 500])
        for id_, partition in enumerate(wanted):
            await io.store(replace(ADDRESS, partition=partition, materialization_id=id_), id_)

        assert await io.list_partitions("sales.report") == wanted
        assert await io.list_partitions("sales") == []

    async def test_what_others_put_there_is_left_alone(self, io: FilesIO, tmp_path: Path) -> None:
        path = await path_of(io, ADDRESS, "x")
        (path.parent / "notes.txt").write_text("mine")
        (tmp_path / "sales.report" / "backup").symlink_to(path.parent)

        found = [it async for it in io.written("3f2a")]
        await io.discard([it.location for it in found])

        assert len(found) == 1
        assert files(tmp_path) == ["sales.report/backup", "sales.report/d%3a2025-01-15/notes.txt"]

    async def test_a_write_that_was_cut_short_is_found_by_its_attempt(self, io: FilesIO) -> None:
        path = await path_of(io, ADDRESS, "x")
        path.rename(path.with_name(f".{path.name}.ab12.tmp"))

        (found,) = [it async for it in io.written("3f2a")]

        assert (found.materialization_id, found.claim) == (7, 1)
        assert await io.list_partitions("sales.report") == []


class TestOptions:
    @pytest.mark.parametrize("root", ["", None, 7, ["/data"]], ids=repr)
    def test_a_root_that_is_no_folder_is_refused(self, root: Any) -> None:
        with pytest.raises(InvalidOptionError, match=r"FilesIO\('/data'\)"):
            FilesIO(root)

    @pytest.mark.parametrize("size", [-1, True, "64k", 1.5], ids=repr)
    def test_a_size_that_is_none_is_refused(self, size: Any) -> None:
        with pytest.raises(InvalidOptionError, match="must be a number of bytes"):
            FilesIO("/data", compress_above=size)

    def test_a_root_of_the_users_is_expanded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/there")

        assert FilesIO("~/data").root == Path("/there/data")
