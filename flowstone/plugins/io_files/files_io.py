"""The IO manager that keeps values as files."""

import asyncio
import errno
import gzip
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar, get_args, get_origin

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.io_manager import Address, IOManager, Piece, Written
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.errors import (
    InvalidOptionError,
    NotStoredError,
    StorageError,
    ValueNotReadableError,
)
from flowstone.core.json_value import JsonValue
from flowstone.plugins.io_files import file_names, latest_link, whole_file

PAYS = 0.9
"""Compressed files that are not smaller than this part are kept as they were."""

PAGE = 500
THREADS = 16

PASSES = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""What may be otherwise at the next attempt; a full disk among them, for somebody may make room."""

ADVICE = {
    errno.ENOSPC: "make room there, for one by: flowstone asset sweep",
    errno.EDQUOT: "make room there, for one by: flowstone asset sweep",
    errno.EACCES: "the worker's user needs to read and write there",
    errno.EPERM: "the worker's user needs to read and write there",
    errno.EROFS: "mount it writable, or choose another root",
    errno.ENAMETOOLONG: "choose a shorter root, or shorter partitions",
}

T = TypeVar("T")


class FilesIO(IOManager):
    """
    Keeps values as files below a folder that all workers see at the same path or mount.

    One file per attempt, ``<asset>/<partition>/<materialization>-<claim>-<store>.json``; see
    `file_names`. It is there whole or not at all, and on disk, before its materialization is
    settled. Rows keep its path below the root, its size and its SHA-256, so that a file that is
    gone or was changed is an error and not a value. Superseded files stay until their rows are
    pruned and `flowstone asset sweep`, or a worker, removes them.

    Args:
        root: The folder; made when it is missing.
        codec: What turns values into JSON; None is `JsonCodec`.
        raw_bytes: Write ``bytes`` as they are, as ``.bin``, instead of as JSON.
        compress_above: Compress (gzip) what has more bytes than this, if it pays; None never.
        latest: Also keep ``latest.json`` (or ``latest.bin``) beside the files, a symbolic link to
            the newest, for readers that do not ask FlowStone. It gives up what the rows promise:
            the link moves when a file is written and not when its materialization commits, so it
            may show a value that is never committed, for as long as that is the newest and not
            swept; newest is the highest materialization, which of two runs at once need not be the
            current one; it knows nothing of invalidation; nothing is compressed; the file system
            needs symbolic links.
    """

    contract_version = "1.0.0"

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        codec: Codec | None = None,
        raw_bytes: bool = False,
        compress_above: int | None = 64 * 1024,
        latest: bool = False,
    ) -> None:
        if not isinstance(root, str | os.PathLike) or not os.fspath(root):
            raise InvalidOptionError(f"root={root!r} must be a folder: FilesIO('/data')")
        is_size = isinstance(compress_above, int) and not isinstance(compress_above, bool)
        if not (compress_above is None or (is_size and compress_above >= 0)):
            raise InvalidOptionError(f"compress_above={compress_above!r} must be a number of bytes")
        self.root = Path(root).expanduser().absolute()
        self._codec = JsonCodec() if codec is None else codec
        self._raw_bytes = raw_bytes
        self._compress_above = None if latest else compress_above
        self._latest = latest
        # Of its own: calls that hang on a share take nobody else's threads.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="flowstone-files")

    async def store(self, address: Address, value: object) -> Written:
        """Write the attempt's file; see `IOManager.store`."""
        return await self._in_thread(self._store, address, value)

    def _store(self, address: Address, value: object) -> Written:
        content, suffix = self._content(value)
        path = file_names.path_of(address, suffix)
        file = self.root / path
        with _failures("write", file):
            whole_file.write(file, content)
            if self._latest:
                latest_link.point_to_newest(file.parent, address.origin)
        digest = hashlib.sha256(content).hexdigest()
        location: JsonValue = {"path": str(path), "size": len(content), "sha256": digest}
        return Written(location, size_bytes=len(content))

    def _content(self, value: object) -> tuple[bytes, str]:
        if self._raw_bytes and type(value) is bytes:
            content, suffix = value, ".bin"
        else:
            content, suffix = self._codec.encode(value).encode("utf-8"), ".json"
        if self._compress_above is None or len(content) <= self._compress_above:
            return content, suffix
        compressed = gzip.compress(content, 6, mtime=0)
        if len(compressed) > len(content) * PAYS:
            return content, suffix
        return compressed, f"{suffix}.gz"

    async def load(self, location: JsonValue, annotation: object = object) -> object:
        """
        Return the value of a file; see `IOManager.load`.

        Raises:
            NotStoredError: The file is gone.
            ValueNotReadableError: It is not what was written, or not what the annotation says.
        """
        return await self._in_thread(self._load, location, annotation)

    def _load(self, location: JsonValue, annotation: object) -> object:
        file = self._file(location)
        with _failures("read", file):
            content = file.read_bytes()
        self._verify(file, content, location)
        if file.name.endswith(".gz"):
            try:
                content = gzip.decompress(content)
            except (OSError, EOFError, zlib.error) as error:
                raise ValueNotReadableError(f"the file {file} is damaged: {error}") from error
        if file.name.endswith((".json", ".json.gz")):
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueNotReadableError(f"the file {file} is no text: {error}") from error
            return self._codec.decode(text, annotation)
        if _takes_bytes(annotation):
            return content
        raise ValueNotReadableError(
            f"the file {file} has bytes as they are; its reader must take bytes, not {annotation}"
        )

    def _verify(self, file: Path, content: bytes, location: JsonValue) -> None:
        assert isinstance(location, dict), "its path was in it"
        size, digest = (location.get("size"), location.get("sha256"))
        if size is not None and size != len(content):
            raise ValueNotReadableError(
                f"the file {file} was changed: {size} bytes were written, and it has {len(content)}"
            )
        if digest is not None and digest != hashlib.sha256(content).hexdigest():
            raise ValueNotReadableError(
                f"the file {file} was changed: its SHA-256 is not that of what was written"
            )

    async def exists(self, location: JsonValue) -> bool:
        """Return whether the file is there."""
        file = self._file(location)
        with _failures("read", file):
            return await self._in_thread(file.is_file)

    async def delete(self, location: JsonValue) -> None:
        """Remove the file, and folders that are empty then; no file is fine."""
        await self.discard([location])

    async def discard(self, locations: Sequence[JsonValue]) -> None:
        """Remove several files; see `delete`."""
        await self._in_thread(self._discard, [self._file(it) for it in locations])

    def _discard(self, files: Sequence[Path]) -> None:
        for file in files:
            with _failures("remove", file):
                file.unlink(missing_ok=True)
                name = file_names.read(file.name)
                # Whoever sweeps need not be who was told to keep the link.
                if name is not None and latest_link.is_kept(file.parent):
                    latest_link.point_to_newest(file.parent, name.origin)
                whole_file.remove_empty(file.parent, self.root)

    async def list_partitions(self, asset: str) -> list[str]:
        """Return the partitions that have a file, committed or not, sorted."""
        return await self._in_thread(
            self._partitions, self.root.joinpath(*file_names.folders(asset))
        )

    def _partitions(self, folder: Path) -> list[str]:
        with _failures("list", folder):
            found = {
                path.relative_to(folder).parts[:-1]
                for path, name in _files(folder)
                if not name.is_temporary
            }
        return sorted(file_names.text_of(it) for it in found if file_names.is_one_text(it))

    async def metadata(self, location: JsonValue) -> Mapping[str, JsonValue]:
        """Return ``path``, ``size_bytes``, ``written_at`` and ``is_compressed`` of the file."""
        file = self._file(location)
        with _failures("read", file):
            found = await self._in_thread(file.stat)
        return {
            "path": str(file),
            "size_bytes": found.st_size,
            "written_at": datetime.fromtimestamp(found.st_mtime, UTC).isoformat(),
            "is_compressed": file.suffix == ".gz",
        }

    async def written(self, origin: str) -> AsyncIterator[Piece]:
        """Yield every file of a store's attempts, those too that were never finished."""
        pieces = self._pieces(origin)
        with _failures("list", self.root):
            while page := await self._in_thread(lambda: list(islice(pieces, PAGE))):
                for piece in page:
                    yield piece

    def _pieces(self, origin: str) -> Iterator[Piece]:
        for path, name in _files(self.root):
            if name.origin != origin:
                continue
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            yield Piece(
                location={"path": path.relative_to(self.root).as_posix()},
                materialization_id=name.materialization_id,
                claim=name.claim,
                written_at=datetime.fromtimestamp(found.st_mtime, UTC),
                size_bytes=found.st_size,
            )

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    def _file(self, location: JsonValue) -> Path:
        match location:
            case {"path": str(text)}:
                path = PurePosixPath(text)
                if path.parts and not path.is_absolute() and ".." not in path.parts:
                    return self.root / path
        raise StorageError(f"{location!r} is no place below {self.root}")


def _files(folder: Path) -> Iterator[tuple[Path, file_names.FileName]]:
    """Yield the files of attempts below a folder; what vanishes meanwhile is left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda it: it.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry))
        elif (name := file_names.read(entry.name)) and entry.is_file(follow_symlinks=False):
            yield Path(entry), name


def _takes_bytes(annotation: object) -> bool:
    annotation = getattr(annotation, "__supertype__", annotation)
    if annotation in (bytes, object, Any):
        return True
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _takes_bytes(arguments[0])
    return bytes in arguments and get_origin(annotation) not in (list, tuple, dict, set, frozenset)


@contextmanager
def _failures(action: str, path: Path) -> Iterator[None]:
    """Say of an error of the system what could not be done, where, and what helps."""
    try:
        yield
    except FileNotFoundError as error:
        if action != "read":
            raise _storage_error(action, path, error) from error
        raise NotStoredError(
            f"the file {path} is gone; compute it again after: flowstone asset invalidate ..."
        ) from error
    except OSError as error:
        raise _storage_error(action, path, error) from error


def _storage_error(action: str, path: Path, error: OSError) -> StorageError:
    number = error.errno or 0
    advice = f"; {ADVICE[number]}" if number in ADVICE else ""
    reason = error.strerror or str(error)
    return StorageError(f"cannot {action} {path}: {reason}{advice}", retryable=number in PASSES)
