"""
Each recorded file beside its recorded hash: the heavy part, reading everything that is installed.

Hashing releases the interpreter's lock, so a few threads keep as many cores busy. A file of another
size than recorded is changed without being read. Nothing but regular files is opened.
"""

import base64
import hashlib
import os
import posixpath
import stat
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from flowstone.cli.demo.file_names import to_name
from flowstone.cli.demo.recorded_files import shared_files
from flowstone.cli.demo.records import Finding, RecordedFiles, Tally, Verification

MOST_FINDINGS = 500
"""Findings that are kept: an environment that was deleted has tens of thousands."""

_BATCH = 64
_ALGORITHMS = {
    name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")
}  # a shake digest has no length of its own


class _Check(NamedTuple):
    owner: str
    recorded_path: str
    path: str
    digest: str
    recorded_size: int


class _Result(NamedTuple):
    owner: str
    recorded_path: str
    state: str
    detail: str
    hashed_bytes: int


def verify(recorded: Sequence[RecordedFiles], *, threads: int | None = None) -> Verification:
    """
    Check every recorded file.

    Args:
        threads: As many as there are processors, and at most 8, unless given.
    """
    started = time.perf_counter()
    checked_at = datetime.now(UTC).isoformat(timespec="seconds")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    findings: list[Finding] = []
    hashed_bytes = 0
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        for results in pool.map(_check_all, _batches(_checks(recorded))):
            for result in results:
                counts[result.owner][result.state] += 1
                hashed_bytes += result.hashed_bytes
                if result.state in {"changed", "missing", "unreadable"}:
                    findings.append(
                        Finding(result.owner, result.recorded_path, result.state, result.detail)
                    )
    tallies = {owner: _tally(count) for owner, count in counts.items()}
    return Verification(
        total=_tally(sum(counts.values(), Counter())),
        tallies=tallies,
        findings=tuple(findings[:MOST_FINDINGS]),
        shared=shared_files(recorded),
        malformed=tuple(f"{each.owner}: {line}" for each in recorded for line in each.malformed),
        hashed_bytes=hashed_bytes,
        took_ms=round((time.perf_counter() - started) * 1000),
        checked_at=checked_at,
    )


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


def _check_all(checks: list[_Check]) -> list[_Result]:
    return [
        _Result(owner, recorded_path, *check_file(path, digest, recorded_size))
        for owner, recorded_path, path, digest, recorded_size in checks
    ]


def _checks(recorded: Iterable[RecordedFiles]) -> Iterator[_Check]:
    for files in recorded:
        site = to_name(files.site)
        for folder in files.folders:
            parent = os.path.normpath(os.path.join(site, to_name(folder.path)))
            columns = zip(folder.names, folder.digests, folder.recorded_sizes, strict=True)
            for name, digest, size in columns:
                path = os.path.join(parent, to_name(name))
                recorded_path = posixpath.join(folder.path, name)
                yield _Check(files.owner, recorded_path, path, digest, size)


def _batches(checks: Iterator[_Check]) -> Iterator[list[_Check]]:
    while batch := list(islice(checks, _BATCH)):
        yield batch


def _tally(count: Counter[str]) -> Tally:
    return Tally(
        ok=count["ok"],
        changed=count["changed"],
        missing=count["missing"],
        unreadable=count["unreadable"],
        unhashed=count["unhashed"],
    )
