"""
Each recorded file beside its recorded hash: the heavy part, reading everything that is installed.

Every file is an item of a scatter, checked by itself. A file of another size than recorded is
changed without being read. Nothing but regular files is opened.
"""

import base64
import hashlib
import os
import posixpath
import stat
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flowstone.cli.demo.file_names import to_name
from flowstone.cli.demo.recorded_files import shared_files
from flowstone.cli.demo.records import Finding, RecordedFiles, Tally, Verification

MOST_FINDINGS = 500
"""Findings that are kept: an environment that was deleted has tens of thousands."""

_ALGORITHMS = {
    name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")
}  # a shake digest has no length of its own


@dataclass(frozen=True, slots=True)
class FileToCheck:
    """
    One recorded file: an item of the scatter that checks all of them.

    Attributes:
        site: The site folder of its owner.
        path: As recorded, from there.
        digest: As in `records.Folder`.
    """

    owner: str
    site: str
    path: str
    digest: str
    recorded_size: int


@dataclass(frozen=True, slots=True)
class FileState:
    """
    What one file is beside its record: ok, changed, missing, unreadable or unhashed.

    Attributes:
        detail: What differs.
        took_us: Microseconds that it took to tell.
    """

    state: str
    detail: str
    hashed_bytes: int
    took_us: int


def files_to_check(recorded: Iterable[RecordedFiles]) -> Iterator[FileToCheck]:
    """Every recorded file, one by one."""
    for files in recorded:
        for folder in files.folders:
            columns = zip(folder.names, folder.digests, folder.recorded_sizes, strict=True)
            for name, digest, size in columns:
                path = posixpath.join(folder.path, name)
                yield FileToCheck(files.owner, files.site, path, digest, size)


def check(file: FileToCheck) -> FileState:
    """Read one file and compare it."""
    started = time.perf_counter()
    folder, name = posixpath.split(file.path)
    parent = os.path.normpath(os.path.join(to_name(file.site), to_name(folder)))
    path = os.path.join(parent, to_name(name))
    state, detail, hashed_bytes = check_file(path, file.digest, file.recorded_size)
    return FileState(state, detail, hashed_bytes, round((time.perf_counter() - started) * 1e6))


def check_file(path: str, digest: str, recorded_size: int) -> tuple[str, str, int]:
    """
    One file's state, what differs, and how many bytes were read to tell.

    Args:
        digest: As in ``records.Folder``; one whose algorithm is not known counts as none.
        recorded_size: In bytes, or -1.
    """
    algorithm, _, expected = digest.rpartition("=")
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return "changed", "not a regular file", 0
        if expected and recorded_size not in (-1, found.st_size):
            return "changed", f"{recorded_size:,} bytes recorded, {found.st_size:,} found", 0
        if not expected or (algorithm or "sha256") not in _ALGORITHMS:
            return "unhashed", "", 0
        with open(path, "rb", buffering=0) as file:
            actual = hashlib.file_digest(file, algorithm or "sha256")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return "missing", "", 0
    except OSError as error:
        return "unreadable", error.strerror or type(error).__name__, 0
    same = base64.urlsafe_b64encode(actual.digest()).rstrip(b"=").decode() == expected
    state, detail = ("ok", "") if same else ("changed", "same size, other content")
    return state, detail, found.st_size


class Verifying:
    """Adds up the states of files, in whatever number they come."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._findings: list[Finding] = []
        self._hashed_bytes = 0
        self._took_us = 0

    def add(self, file: FileToCheck, found: FileState) -> None:
        """Take in one file."""
        self._counts[file.owner][found.state] += 1
        self._hashed_bytes += found.hashed_bytes
        self._took_us += found.took_us
        is_finding = found.state in {"changed", "missing", "unreadable"}
        if is_finding and len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(file.owner, file.path, found.state, found.detail))

    def verification(self, recorded: Sequence[RecordedFiles]) -> Verification:
        """Return the sum."""
        return Verification(
            total=_tally(sum(self._counts.values(), Counter())),
            tallies={owner: _tally(count) for owner, count in sorted(self._counts.items())},
            findings=tuple(self._findings),
            shared=shared_files(recorded),
            malformed=tuple(
                f"{each.owner}: {line}" for each in recorded for line in each.malformed
            ),
            hashed_bytes=self._hashed_bytes,
            took_ms=round(self._took_us / 1000),
            checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _tally(count: Counter[str]) -> Tally:
    return Tally(
        ok=count["ok"],
        changed=count["changed"],
        missing=count["missing"],
        unreadable=count["unreadable"],
        unhashed=count["unhashed"],
    )
