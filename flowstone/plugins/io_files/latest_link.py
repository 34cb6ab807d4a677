"""
The stable name of an asset's newest file: ``latest.json``, a symbolic link beside the files.

Several processes may write at once, without a lock: each points the link to the newest file that it
sees, and looks again afterwards. Whoever comes last sees all, so the link ends at the newest.
"""

import os
import threading
from pathlib import Path

from flowstone.plugins.io_files.file_names import FileName, read

NAME = "latest"
SUFFIXES = (".json", ".bin")


def is_kept(folder: Path) -> bool:
    """Whether there is such a link, be what it points to gone."""
    return any((folder / f"{NAME}{suffix}").is_symlink() for suffix in SUFFIXES)


def point_to_newest(folder: Path, origin: str) -> None:
    """Let the link be the newest file of a store's materializations; without any it goes."""
    newest = None
    while (found := _newest(folder, origin)) != newest or found is None:
        newest = found
        suffixes = set(SUFFIXES)
        if newest is not None:
            suffixes.discard(newest.suffix)
            _link(folder / f"{NAME}{newest.suffix}", str(newest))
        for suffix in suffixes:
            (folder / f"{NAME}{suffix}").unlink(missing_ok=True)
        if newest is None:
            return


def _newest(folder: Path, origin: str) -> FileName | None:
    try:
        names = [read(entry.name) for entry in os.scandir(folder)]
    except FileNotFoundError:
        return None
    ours = (it for it in names if it and it.origin == origin and not it.is_temporary)
    return max(ours, default=None)


def _link(link: Path, target: str) -> None:
    draft = link.with_name(f".{link.name}.{os.getpid()}-{threading.get_ident()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)
