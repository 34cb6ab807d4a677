"""The item reader of the files below a folder."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError, StorageError
from flowstone.core.json_value import JsonValue
from flowstone.core.reader_options import options_of
from flowstone.plugins.readers_files.folder_walk import Found, Parts, files

LOOKED_AT = 20_000
"""Files that one page looks at; then it ends, with what fitted the pattern, so that it is kept."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """What `FolderReader` takes; see there."""

    root: str | os.PathLike[str]
    pattern: str = "*"


class Walk:
    """A walk that is under way; it goes on where it stands, or anew behind a path."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._after: Parts = ()
        self._files: Iterator[Found] = files(root)

    def behind(self, after: Parts) -> Iterator[Found]:
        """Yield the files behind a path."""
        if after != self._after:
            self._files, self._after = files(self._root, after), after
        for found in self._files:
            self._after = found.parts
            yield found


@dataclass(frozen=True, slots=True)
class FolderState:
    """How a reading stands: ``after`` is the path of the last file that was looked at."""

    options: FolderOptions
    walk: Walk
    after: Parts = field(default=())


class FolderReader(ItemReader[FolderState]):
    """
    Reads the regular files below a folder, as ``{"path": "a/b.txt", "size_bytes": 12}``.

    Paths are relative to the root, with ``/``. They come in a fixed order, so reading goes on
    behind the last one; what is added before that place meanwhile is not read. Symbolic links are
    left out, and folders that vanish meanwhile.

    Configuration:
        root: The folder.
        pattern: Which paths, as in a shell: ``*.pdf``, ``2024/*``; a star matches ``/`` too.
    """

    contract_version = "1.0.0"

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> FolderState:
        """Return the state before the first file; see `ItemReader.init`."""
        options = options_of(FolderOptions, config)
        root = Path(options.root)
        if not await asyncio.to_thread(root.is_dir):
            raise StorageError(f"there is no folder {root}")
        return FolderState(options, Walk(root))

    async def read(self, state: FolderState, limit: int) -> Read[FolderState]:
        """Return the next files; see `ItemReader.read`."""
        return await asyncio.to_thread(_read, state, limit)

    def checkpoint(self, state: FolderState) -> JsonValue:
        """Return the path of the last file that was looked at."""
        return {"after": [quote(os.fsencode(it)) for it in state.after]}

    async def restore(self, state: FolderState, checkpoint: JsonValue) -> FolderState:
        """Return the state behind a path."""
        match checkpoint:
            case {"after": [*parts]}:
                names = [os.fsdecode(unquote_to_bytes(str(it))) for it in parts]
                return replace(state, after=tuple(names))
        raise InvalidOptionError(f"{checkpoint!r} is no position in a folder")


def _read(state: FolderState, limit: int) -> Read[FolderState]:
    items: list[object] = []
    after, looked_at = state.after, 0
    for found in state.walk.behind(state.after):
        after, looked_at = found.parts, looked_at + 1
        path = "/".join(found.parts)
        if fnmatchcase(path, state.options.pattern):
            item = _item(path, found)
            if item is not None:
                items.append(item)
        if len(items) == limit or looked_at == LOOKED_AT:
            return Read(items, replace(state, after=after))
    return Read(items, replace(state, after=after), is_last=True)


def _item(path: str, found: Found) -> Mapping[str, object] | None:
    try:
        path.encode("utf-8")
        return {"path": path, "size_bytes": found.entry.stat(follow_symlinks=False).st_size}
    except UnicodeEncodeError as error:
        raise StorageError(
            f"the name of a file is not UTF-8: {os.fsencode(path)!r}; rename it"
        ) from error
    except FileNotFoundError:
        return None
