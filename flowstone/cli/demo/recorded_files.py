"""
Every file that an installer recorded: the RECORD of each distribution beside what is on the disk.

Source: the specification "Recording installed projects" (PEP 376, PEP 627).
"""

import csv
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator

from flowstone.cli.demo.file_names import one_line, to_name, to_text
from flowstone.cli.demo.records import Distribution, Folder, Inventory, RecordedFiles

_UNKNOWN = -1
_MOST_MALFORMED = 5
_MOST_SHARED = 200


def inventory(distributions: Iterable[Distribution]) -> Inventory:
    """The recorded files of every distribution that has a RECORD, with the size each has now."""
    recorded = tuple(read_record(each) for each in distributions if each.is_recorded)
    count = sum(len(folder.names) for files in recorded for folder in files.folders)
    return Inventory(recorded=recorded, file_count=count)


def read_record(distribution: Distribution) -> RecordedFiles:
    """One distribution's RECORD; lines that make no sense are kept aside, never guessed at."""
    site = to_name(distribution.site)
    record = posixpath.join(to_name(distribution.info), "RECORD")
    columns: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
    malformed: list[str] = []
    bytecode_count = 0
    for row in _rows(os.path.join(site, record)):
        if not row[0] or len(row) > 3:
            malformed.append(one_line(",".join(row)))
            continue
        path, digest, size = (*row, "", "")[:3]
        if path.endswith(".pyc"):
            bytecode_count += 1
        elif path not in {record, f"{record}.jws", f"{record}.p7s"}:
            folder, name = posixpath.split(path)
            entry = (to_text(name), _digest(digest), _size(size), _size_on_disk(site, path))
            columns[folder].append(entry)
    return RecordedFiles(
        owner=distribution.label,
        site=distribution.site,
        folders=tuple(_folder(path, entries) for path, entries in columns.items()),
        bytecode_count=bytecode_count,
        malformed=tuple(malformed[:_MOST_MALFORMED]),
    )


def paths_of(files: RecordedFiles) -> Iterator[str]:
    """The absolute path of every recorded file, for the operating system."""
    site = to_name(files.site)
    for folder in files.folders:
        parent = os.path.normpath(os.path.join(site, to_name(folder.path)))
        for name in folder.names:
            yield os.path.join(parent, to_name(name))


def shared_files(recorded: Iterable[RecordedFiles]) -> dict[str, tuple[str, ...]]:
    """Files that several distributions claim: the one installed last has overwritten the others."""
    claimants: dict[str, list[str]] = defaultdict(list)
    for files in recorded:
        for path in paths_of(files):
            claimants[path].append(files.owner)
    shared = {
        to_text(path): tuple(dict.fromkeys(owners))
        for path, owners in claimants.items()
        if len(set(owners)) > 1
    }
    return dict(sorted(shared.items())[:_MOST_SHARED])


def _rows(path: str) -> Iterator[list[str]]:
    """The rows of a RECORD; one without a path stands for what could not be read."""
    try:
        # Undecodable bytes become what the operating system's own file names have in their place.
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(_without_nul(lines))
            while True:
                try:
                    row = next(reader)
                except csv.Error as error:
                    row = ["", str(error)]
                except StopIteration:
                    return
                if row:
                    yield row
    except OSError as error:
        yield ["", f"RECORD cannot be read: {error.strerror}"]


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    """NUL would end a field unseen in some versions of ``csv``; no file name holds one."""
    for line in lines:
        yield line.replace("\0", "\ufffd")


def _digest(text: str) -> str:
    algorithm, separator, digest = text.partition("=")
    digest = one_line(digest.rstrip("="))
    if not separator or not digest:
        return ""
    return digest if algorithm == "sha256" else f"{one_line(algorithm)}={digest}"


def _size(text: str) -> int:
    # No file reaches 2**53 bytes, the largest number that every JSON reader takes.
    is_number = text.isascii() and text.isdigit() and len(text) < 16
    return int(text) if is_number else _UNKNOWN


def _size_on_disk(site: str, path: str) -> int:
    try:
        return os.stat(os.path.join(site, path)).st_size
    except (OSError, ValueError):
        return _UNKNOWN


def _folder(path: str, entries: list[tuple[str, str, int, int]]) -> Folder:
    names, digests, recorded_sizes, sizes = zip(*entries, strict=True)
    return Folder(
        path=to_text(path),
        names=names,
        digests=digests,
        recorded_sizes=recorded_sizes,
        sizes=sizes,
    )
