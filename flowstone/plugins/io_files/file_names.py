"""
Where an attempt's file lies: ``<asset>/<partition>/<materialization>-<claim>-<origin>.json``.

Names are read by people and hold on any file system. Beside letters, digits and ``- _ . = + , @``
every character is a ``%xx`` of its UTF-8, and so is a dot in front, so no name is hidden or leads
elsewhere. A name with capitals ends in ``~`` and eight digits of a hash, so two that differ in
nothing but case are two also where case does not count. What is longer than a name may be goes on
in a folder below: a name that ends in ``~`` is not the end. No partition is ``_``.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from flowstone.core.contracts.io_manager import Address

LONGEST = 150
"""Characters of a name without its marks; file systems take 255 bytes, some no more than 143."""

NOTHING = "_"

_FILE = r"(\d+)-(\d+)-([a-z0-9]+)((?:\.json|\.bin)(?:\.gz)?)"


@dataclass(frozen=True, slots=True, order=True)
class FileName:
    """What the name of a file says; a later claim of a later materialization is greater."""

    materialization_id: int
    claim: int
    origin: str
    suffix: str
    is_temporary: bool = False

    def __str__(self) -> str:
        return f"{self.materialization_id}-{self.claim}-{self.origin}{self.suffix}"


def path_of(address: Address, suffix: str) -> PurePosixPath:
    """Return where the attempt's file lies, below the root."""
    name = FileName(address.materialization_id, address.claim, address.origin, suffix)
    return PurePosixPath(*folders(address.asset), *folders(address.partition), str(name))


def temporary(name: str, mark: str) -> str:
    """Return what a file is called until it is whole."""
    return f".{name}.{mark}.tmp"


def read(name: str) -> FileName | None:
    """Return what a file's name says, or None when it is none of ours."""
    found = re.fullmatch(rf"{_FILE}|\.{_FILE}\.\w+\.tmp", name)
    if found is None:
        return None
    id_, claim, origin, suffix = found.group(1, 2, 3, 4) if found[1] else found.group(5, 6, 7, 8)
    return FileName(int(id_), int(claim), origin, suffix, is_temporary=found[1] is None)


def folders(text: str) -> list[str]:
    """Return the names of the folders that stand for a text."""
    if not text:
        return [NOTHING]
    quoted = re.sub("%..", lambda it: it[0].lower(), quote(text, safe="=+,@")).replace("~", "%7e")
    if quoted == NOTHING:
        return [f"%{ord(NOTHING):x}"]
    pieces = [quoted[at : at + LONGEST] for at in range(0, len(quoted), LONGEST)]
    return [*(f"{_marked(it)}~" for it in pieces[:-1]), _marked(pieces[-1])]


def text_of(names: Sequence[str]) -> str:
    """Return the text that `folders` wrote."""
    if list(names) == [NOTHING]:
        return ""
    return unquote("".join("".join(takewhile("~".__ne__, name)) for name in names))


def is_one_text(names: Sequence[str]) -> bool:
    """Whether these folders, and no fewer, stand for one text."""
    return [name.endswith("~") for name in names] == [True] * (len(names) - 1) + [False]


def _marked(piece: str) -> str:
    if piece.startswith("."):
        piece = f"%2e{piece[1:]}"
    if piece == piece.lower():
        return piece
    return f"{piece}~{hashlib.sha256(piece.encode()).hexdigest()[:8]}"
