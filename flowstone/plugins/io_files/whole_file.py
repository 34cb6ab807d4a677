"""
Files that are there whole or not at all, also after a power cut.

A file is written beside its place, synchronized, and moved there; then its folder is synchronized.
Whoever reads it sees nothing in between.
"""

import errno
import os
import secrets
import stat
from pathlib import Path

from flowstone.plugins.io_files.file_names import temporary

TRIES = 100


def write(path: Path, content: bytes) -> None:
    """Write a file, in folders that are made where they are missing; replaces what is there."""
    draft = path.with_name(temporary(path.name, secrets.token_hex(4)))
    handle = _opened(draft)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _synchronize(path.parent)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, up to the root, as far as they are empty."""
    while root in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return  # A file is there, or somebody else was here first.
        folder = folder.parent


def _opened(draft: Path) -> int:
    for _ in range(TRIES):
        try:
            _make(draft.parent)
            return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # A folder was empty until now, and was removed.
    raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again", draft.parent)


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise
    except FileNotFoundError:
        _make(folder.parent)
        _make(folder)
    else:
        _synchronize(folder.parent)


def _synchronize(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Some network file systems know no such thing.
            raise
    finally:
        os.close(handle)
