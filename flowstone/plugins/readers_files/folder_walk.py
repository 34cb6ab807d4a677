"""
The files below a folder in one fixed order, from the beginning or from behind a path.

Entries of a folder go by name, and what is below a folder comes in its place. So the path of the
last file says what has been seen, whatever was added or removed meanwhile.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Parts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """
    A regular file.

    Attributes:
        parts: Its path below the root.
        entry: For its facts, which are asked when they are wanted.
    """

    parts: Parts
    entry: os.DirEntry[str]


def files(root: Path, after: Parts = ()) -> Iterator[Found]:
    """
    Yield the regular files below a folder; symbolic links are neither files nor followed.

    Args:
        after: The path of the last file that is not wanted any more.
    """
    return _below(str(root), (), after)


def _below(folder: str, parts: Parts, after: Parts) -> Iterator[Found]:
    for entry in _sorted(folder, is_root=not parts):
        is_on_the_way = after[:1] == (entry.name,)
        if after and not is_on_the_way and entry.name < after[0]:
            continue
        own = (*parts, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, own, after[1:] if is_on_the_way else ())
        elif not is_on_the_way and entry.is_file(follow_symlinks=False):
            yield Found(own, entry)


def _sorted(folder: str, *, is_root: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda it: it.name)
    except FileNotFoundError:
        if is_root:
            raise
        return []  # removed since its own folder was listed
