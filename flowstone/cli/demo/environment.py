"""
What is installed: the distributions of the site folders, read through ``importlib.metadata``.

Everything here takes the folders to look at: a folder made for a test is an environment too. A
distribution whose metadata cannot be read is reported as such, never left out.
"""

import contextlib
import json
import os
import platform
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import Distribution as Metadata
from importlib.metadata import PackageMetadata
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from packaging.utils import canonicalize_name

from flowstone.cli.demo.file_names import one_line, to_text
from flowstone.cli.demo.records import Distribution, Installed, Interpreter

MOST_REQUIREMENTS = 2_000
"""Requirements kept of one distribution; a real one has a hundred or two."""


class OtherEnvironmentError(RuntimeError):
    """The fingerprint asked for is not of the environment that this process runs in."""


def site_folders() -> tuple[Path, ...]:
    """
    The folders in which this Python keeps distributions, first on the path first.

    Not ``sys.path``: two processes of one environment may be started with different paths.
    """
    named = [*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if site.ENABLE_USER_SITE:
        named.insert(0, site.getusersitepackages())
    real = dict.fromkeys(os.path.realpath(folder) for folder in named)
    return tuple(Path(folder) for folder in real if Path(folder).is_dir())


def interpreter() -> Interpreter:
    """The Python that runs this."""
    return Interpreter(
        implementation=platform.python_implementation(),
        version=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}".strip(),
        executable=to_text(sys.executable or ""),
        prefix=to_text(sys.prefix),
    )


def fingerprint(folders: Sequence[Path] | None = None) -> str:
    """
    A short name for this environment as it is now: the partition that the demo computes.

    The part before the dash is which environment it is: the interpreter, the folders and the names
    and versions in them. The part after is its state: size and modification time of every file but
    bytecode, and the code that examines them. So an environment in which nothing was touched keeps
    its fingerprint, and a file that was edited changes it.

    Args:
        folders: The site folders of this Python unless given.
    """
    sites = site_folders() if folders is None else folders
    identity = sha256(f"{sys.version}\0{os.path.realpath(sys.prefix)}".encode(errors="replace"))
    state = sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        state.update(source.read_bytes())
    for folder in sites:
        identity.update(f"\0{to_text(str(folder))}".encode())
        for info in _metadata_folders(folder):
            identity.update(f"\0{to_text(info.name)}".encode())
        for line in _states_of_files(folder):
            state.update(line.encode(errors="surrogateescape"))
    return f"{identity.hexdigest()[:8]}-{state.hexdigest()[:8]}"


def require_same_environment(wanted: str) -> None:
    """
    Refuse to examine this environment in the name of another.

    Only the first part of the fingerprint is compared: a file touched since is no other place.

    Raises:
        OtherEnvironmentError: ``wanted`` is of another environment, say that of another machine.
    """
    here = fingerprint()
    if wanted.partition("-")[0] != here.partition("-")[0]:
        raise OtherEnvironmentError(
            f"asked to examine environment {wanted}, but this worker runs in {here} "
            f"({sys.prefix}); it must run where the demo was started"
        )


def installed(folders: Sequence[Path]) -> Installed:
    """Every distribution with a metadata folder in ``folders``, by name, the shadowed marked."""
    found: list[Distribution] = []
    leftovers: list[str] = []
    seen: set[str] = set()
    for folder in folders:
        for info in _metadata_folders(folder):
            if info.name.startswith(("~", "-")):
                leftovers.append(to_text(str(info)))
                continue
            distribution = read_distribution(info)
            key = canonicalize_name(distribution.name)
            found.append(replace(distribution, is_shadowed=True) if key in seen else distribution)
            seen.add(key)
    found.sort(
        key=lambda distribution: (canonicalize_name(distribution.name), distribution.is_shadowed)
    )
    return Installed(
        interpreter=interpreter(),
        sites=tuple(to_text(str(folder)) for folder in folders),
        distributions=tuple(found),
        leftovers=tuple(leftovers),
    )


def read_distribution(info: Path) -> Distribution:
    """The distribution whose metadata folder (or ``.egg-info`` file) this is."""
    metadata = Metadata.at(info)
    fields, problem = _fields(metadata)
    name, version = _named_by_folder(info)
    license_file = ""
    named_license = fields.one("License-Expression") or fields.one("License")
    if not named_license and not fields.classifiers("License"):
        license_file = _license_file(info, fields.every("License-File"))
    return Distribution(
        name=fields.one("Name") or name,
        version=fields.one("Version") or version,
        summary=fields.one("Summary"),
        license_expression=fields.one("License-Expression"),
        license_text=fields.one("License"),
        license_classifiers=fields.classifiers("License"),
        license_file=license_file,
        requires=fields.every("Requires-Dist")[:MOST_REQUIREMENTS],
        installer=one_line(_text(info / "INSTALLER"), 40),
        origin=_origin(_text(info / "direct_url.json")),
        site=to_text(str(info.parent)),
        info=to_text(info.name),
        is_recorded=(info / "RECORD").is_file(),
        is_shadowed=False,
        top_level=tuple(to_text(line) for line in _text(info / "top_level.txt").split()),
        problem=problem,
    )


class _Fields:
    """Metadata headers as clean text: absent, repeated and multi-line ones alike."""

    def __init__(self, headers: PackageMetadata | None) -> None:
        self._headers = headers

    def one(self, name: str) -> str:
        lines = self._values(name)
        # The License field may hold a whole license; what matters is how it begins.
        first = next((line for line in "\n".join(lines[:1]).splitlines() if line.strip()), "")
        text = one_line(first)
        return "" if text.upper() == "UNKNOWN" else text

    def every(self, name: str) -> tuple[str, ...]:
        return tuple(one_line(value, 500) for value in self._values(name))

    def classifiers(self, topic: str) -> tuple[str, ...]:
        prefix = f"{topic} :: "
        return tuple(
            text.removeprefix(prefix)
            for text in self.every("Classifier")
            if text.startswith(prefix)
        )

    def _values(self, name: str) -> list[str]:
        values = None if self._headers is None else self._headers.get_all(name)
        return [str(value) for value in values or []]


def _fields(metadata: Metadata) -> tuple[_Fields, str]:
    try:
        headers = metadata.metadata
    except (OSError, ValueError, TypeError) as error:
        return _Fields(None), one_line(f"metadata cannot be read: {error}")
    fields = _Fields(headers)
    return fields, "" if fields.one("Name") else "its metadata has no name"


def _named_by_folder(info: Path) -> tuple[str, str]:
    name, _, version = to_text(info.stem).partition("-")
    return one_line(name) or "?", one_line(version.partition("-py")[0])


def _license_file(info: Path, names: Sequence[str]) -> str:
    folders = (info / "licenses", info)
    with contextlib.suppress(OSError):
        names = (*names, *sorted(os.listdir(info)))
    for name in names:
        if name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            for folder in folders:
                text = one_line(_text(folder / name, 600), 300)
                if text:
                    return text
    return ""


def _origin(direct_url: str) -> str:
    """Where PEP 610 says that it came from; user names and passwords are left out."""
    try:
        told = json.loads(direct_url) if direct_url else None
    except ValueError:
        return "direct_url.json cannot be read"
    if not isinstance(told, dict):
        return ""
    url = _without_credentials(str(told.get("url", "")))
    directory, control = told.get("dir_info"), told.get("vcs_info")
    if isinstance(directory, dict) and directory.get("editable") is True:
        return one_line(f"editable {url}")
    if isinstance(control, dict):
        commit = str(control.get("commit_id", ""))[:12]
        return one_line(f"{control.get('vcs', 'version control')} {url} {commit}")
    return one_line(url)


def _without_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError:
        return ""


def _text(path: Path, limit: int = 1 << 20) -> str:
    """The beginning of a file, "" where there is none; bytes that are not UTF-8 are replaced."""
    try:
        with path.open("rb") as file:
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""


def _metadata_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name.endswith((".dist-info", ".egg-info"))
                and (entry.name.endswith(".egg-info") or entry.is_dir())
            ]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _states_of_files(folder: Path) -> Iterator[str]:
    for path, state in files_below(folder):
        yield f"\0{path}\0{state.st_size}\0{state.st_mtime_ns}"
    for info in _metadata_folders(folder):
        for line in _text(info / "RECORD", 1 << 26).splitlines():
            if line.startswith(("../", "/")):  # scripts, outside the site folder
                path = line.partition(",")[0]
                with contextlib.suppress(OSError, ValueError):
                    state = (folder / path).stat()
                    yield f"\0{path}\0{state.st_size}\0{state.st_mtime_ns}"


def files_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """
    Every file below a folder but bytecode, with its absolute path, always in the same order.

    Links are not followed; what cannot be read is passed over.
    """
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        waiting.append(entry.path)
                elif not entry.name.endswith(".pyc"):
                    yield entry.path, entry.stat(follow_symlinks=False)
