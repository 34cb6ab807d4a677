"""
The values that flow between the assets of the demo.

All are frozen dataclasses of text, whole numbers, tuples and dictionaries, so that any codec stores
them. A size is in bytes, and -1 where it is not known. File names are as ``file_names.to_text`` has
them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that was examined."""

    implementation: str
    version: str
    platform: str
    executable: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    One installed distribution, as its metadata folder tells.

    Attributes:
        summary: One line, shortened.
        license_text: The License field; its first line only, since some hold the whole license.
        license_file: The beginning of its license file, read only where no field names a license.
        origin: Where it came from if not an index (editable, version control, a local path), or "".
        site: The folder that it is installed in.
        info: The name of its metadata folder within ``site``.
        is_recorded: Whether it has a RECORD, the list of its files.
        is_shadowed: Another of the same name comes first on the path.
        top_level: Its modules, where it has no RECORD to tell its files.
        problem: Why its metadata could not be read as it should, or "".
    """

    name: str
    version: str
    summary: str
    license_expression: str
    license_text: str
    license_classifiers: tuple[str, ...]
    license_file: str
    requires: tuple[str, ...]
    installer: str
    origin: str
    site: str
    info: str
    is_recorded: bool
    is_shadowed: bool
    top_level: tuple[str, ...]
    problem: str

    @property
    def label(self) -> str:
        """Its name, or one that no other has where another of its name is imported instead."""
        return f"{self.name} {self.version} (shadowed)" if self.is_shadowed else self.name


@dataclass(frozen=True, slots=True)
class Installed:
    """
    Every distribution of an environment, in order of name.

    Attributes:
        sites: The folders that were searched, in the order in which Python searches them.
        leftovers: Metadata folders of an installation that was broken off (``~name``).
    """

    interpreter: Interpreter
    sites: tuple[str, ...]
    distributions: tuple[Distribution, ...]
    leftovers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """
    The recorded files of one folder, as parallel columns: an environment has tens of thousands.

    Attributes:
        path: As recorded: relative to the site folder (``../../../bin``), or absolute.
        digests: urlsafe base64, unpadded: of SHA-256, or ``"<algorithm>=<digest>"``; "" is none.
        recorded_sizes: What RECORD says.
        sizes: What is on the disk; -1 is not there.
    """

    path: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    recorded_sizes: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordedFiles:
    """
    What one distribution's RECORD lists, except RECORD itself and compiled bytecode.

    Attributes:
        bytecode_count: ``.pyc`` files listed; Python rewrites them at will and pip records no hash.
        malformed: Lines that are not ``path,hash,size``, the first few.
    """

    owner: str
    site: str
    folders: tuple[Folder, ...]
    bytecode_count: int
    malformed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every recorded file of an environment."""

    recorded: tuple[RecordedFiles, ...]
    file_count: int


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A file that is not as it was installed.

    Attributes:
        path: As recorded, from the site folder of its owner.
        problem: changed, missing or unreadable.
    """

    owner: str
    path: str
    problem: str
    detail: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How the files of one distribution, or of all, stand beside their recorded hashes."""

    ok: int
    changed: int
    missing: int
    unreadable: int
    unhashed: int

    @property
    def total(self) -> int:
        """Every file, checked or not."""
        return self.ok + self.changed + self.missing + self.unreadable + self.unhashed

    @property
    def damaged(self) -> int:
        """Files that are not what was installed."""
        return self.changed + self.missing


@dataclass(frozen=True, slots=True)
class Verification:
    """
    Every recorded file beside its recorded hash.

    Attributes:
        findings: What is not as it was installed, at most ``verification.MOST_FINDINGS`` of it; the
            tallies count all.
        tallies: By distribution.
        shared: Files that several distributions claim, the first few: path -> claimants.
        malformed: Lines of RECORD that make no sense, the first few: ``"owner: line"``.
        hashed_bytes: Read from the disk and hashed.
        took_ms: Milliseconds that files took, one added to the other; several are read at once.
        checked_at: ISO 8601, UTC.
    """

    total: Tally
    tallies: dict[str, Tally]
    findings: tuple[Finding, ...]
    shared: dict[str, tuple[str, ...]]
    malformed: tuple[str, ...]
    hashed_bytes: int
    took_ms: int
    checked_at: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement that is not met: ``found`` is the version that is installed, "" if none is."""

    source: str
    text: str
    found: str


@dataclass(frozen=True, slots=True)
class Dependents:
    """How much rests on one distribution: directly, and with what rests on those."""

    name: str
    direct: int
    total: int


@dataclass(frozen=True, slots=True)
class DependencyGraph:
    """
    Which distribution needs which, in this environment.

    Attributes:
        requires: Of each distribution, what it needs and is installed.
        roots: Needed by no other: what somebody asked for.
        leaves: They need nothing.
        cycles: Groups that need one another.
        longest_chain: From a root down; the longest there is.
        most_required: By everything that rests on them, most first.
        unmet: Needed, and absent or of another version.
        optional_count: Requirements of extras that nobody asked for.
        unparsed: Requirements that are not valid: ``"source: text"``.
    """

    requires: dict[str, tuple[str, ...]]
    roots: tuple[str, ...]
    leaves: tuple[str, ...]
    cycles: tuple[tuple[str, ...], ...]
    longest_chain: tuple[str, ...]
    most_required: tuple[Dependents, ...]
    unmet: tuple[Requirement, ...]
    optional_count: int
    unparsed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class License:
    """What one distribution is licensed under, its family, and what that was read from."""

    owner: str
    license: str
    family: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Licenses:
    """Every license, and how many distributions each family has (every family is named)."""

    entries: tuple[License, ...]
    families: dict[str, int]


@dataclass(frozen=True, slots=True)
class Weight:
    """How much of the disk something takes: a file, a distribution or a kind of file."""

    name: str
    owner: str
    file_count: int
    size: int


@dataclass(frozen=True, slots=True)
class Largest:
    """What takes the room: the largest first; ``distributions`` has every one."""

    files: tuple[Weight, ...]
    distributions: tuple[Weight, ...]
    kinds: tuple[Weight, ...]
    file_count: int
    size: int


@dataclass(frozen=True, slots=True)
class Unowned:
    """
    Files in the site folders that no distribution claims, bytecode aside.

    Attributes:
        groups: By what is directly within a site folder, the largest first, a limited number.
        file_count: All of them.
    """

    groups: tuple[Weight, ...]
    file_count: int
    size: int


@dataclass(frozen=True, slots=True)
class StartupFile:
    """A ``.pth`` file: lines that run as code at every start, and folders put on the path."""

    name: str
    code: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Startup:
    """
    What the environment does to every start of this Python.

    Attributes:
        with_site_us: Median microseconds of ``python -c pass``.
        without_site_us: The same with ``-S``, which leaves the site folders out.
    """

    files: tuple[StartupFile, ...]
    with_site_us: int
    without_site_us: int


@dataclass(frozen=True, slots=True)
class Unsound:
    """A distribution that is damaged or lacks what it needs, and everything that rests on it."""

    name: str
    reasons: tuple[str, ...]
    dependents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """What the damage reaches; ``reached`` counts the unsound and all that rests on them once."""

    unsound: tuple[Unsound, ...]
    reached: int


@dataclass(frozen=True, slots=True)
class Surprise:
    """
    Something its owner may not know.

    Attributes:
        level: ``alarm`` (mend it), ``notice`` (look at it) or ``fact`` (good to know).
        examples: The first few of what it is about.
    """

    level: str
    title: str
    detail: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DistributionRow:
    """A line of the list of everything: intact, damaged, unmet, unchecked or shadowed."""

    name: str
    version: str
    summary: str
    license: str
    family: str
    file_count: int
    size: int
    required_by: int
    state: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    The answer.

    Attributes:
        verdict: intact, damaged, unmet (files are well, a requirement is not) or unknown.
        headline: The verdict as a sentence.
        answer: Two or three sentences more.
        unowned: None where it was not looked for: no installer recorded what it put there.
        startup: None where it could not be measured.
    """

    verdict: str
    headline: str
    answer: str
    interpreter: Interpreter
    sites: tuple[str, ...]
    surprises: tuple[Surprise, ...]
    rows: tuple[DistributionRow, ...]
    verification: Verification
    graph: DependencyGraph
    licenses: Licenses
    largest: Largest
    affected: Affected
    unowned: Unowned | None
    startup: Startup | None
