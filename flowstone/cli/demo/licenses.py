"""
Licenses in families, with the evidence: what a person asks before shipping an environment.

The best evidence wins: a License-Expression (SPDX), then classifiers, then the License field, then
how the license file begins. It sorts, and gives no advice.
"""

import re
from collections.abc import Iterable

from flowstone.cli.demo.records import Distribution, License, Licenses

PERMISSIVE = "permissive"
WEAK = "weak copyleft"
STRONG = "strong copyleft"
OTHER = "other"
UNKNOWN = "unknown"

FAMILIES = (PERMISSIVE, WEAK, STRONG, OTHER, UNKNOWN)
"""From what asks least of those who pass it on to what is not known to ask anything."""

# In this order: the names of the lesser licenses hold those of the greater.
_PATTERNS = (
    (STRONG, r"\bAGPL|affero|\bSSPL|server side public|\bOSL-|\bEUPL|european union public"),
    (WEAK, r"\bLGPL|lesser general|library (or lesser )?general|\bMPL\b|mozilla public"),
    (WEAK, r"\bEPL\b|eclipse public|\bCDDL\b|common development and|\bCPL\b|\bMS-RL\b"),
    (STRONG, r"\bGPL|gnu general|general public license"),
    (PERMISSIVE, r"\bMIT\b|\b0?BSD\b|apache|\bISC\b|\bHPND\b|\bNCSA\b"),
    (PERMISSIVE, r"\bPSF\b|python software foundation|\bPython-2|\bCNRI|\bZPL\b|zope public"),
    (
        PERMISSIVE,
        r"\bzlib\b|\bunlicense\b|\bCC0\b|public domain|\bWTFPL\b|\bX11\b|\blibpng|\bcurl\b",
    ),
    (PERMISSIVE, r"\bPostgreSQL\b|\bBSL-1|boost software|\bblueoak|\bCC-BY-[0-9]|\bUPL-1|\bAFL\b"),
    (
        PERMISSIVE,
        r"redistribution and use in source and binary|permission is hereby granted, free of",
    ),
)
_COMPILED = tuple((family, re.compile(pattern, re.IGNORECASE)) for family, pattern in _PATTERNS)
_EXCEPTION = re.compile(r"\b(linking|classpath|gcc|runtime|font|bison|openjdk)\b", re.IGNORECASE)
_TOKEN = re.compile(r"[()]|\bAND\b|\bOR\b|\bWITH\b|[^\s()]+", re.IGNORECASE)


def sort_licenses(distributions: Iterable[Distribution]) -> Licenses:
    """The license of every distribution, one without any included."""
    entries = tuple(license_of(each) for each in distributions if not each.is_shadowed)
    families = dict.fromkeys(FAMILIES, 0)
    for entry in entries:
        families[entry.family] += 1
    return Licenses(entries=entries, families=families)


def license_of(distribution: Distribution) -> License:
    """The license of one distribution by the best evidence there is."""
    owner = distribution.name
    if expression := distribution.license_expression:
        return License(owner, expression, family_of_expression(expression), "License-Expression")
    # "OSI Approved" alone tells nothing, nor do the groups above it.
    named = [text.rpartition(" :: ")[2] for text in distribution.license_classifiers]
    named = [text for text in named if text not in ("OSI Approved", "DFSG approved")]
    if families := [family for text in named if (family := family_of_name(text)) != OTHER]:
        # Several classifiers may mean "or" as well as "and": assume the stricter.
        return License(owner, " / ".join(named), max(families, key=FAMILIES.index), "classifier")
    if text := distribution.license_text:
        return License(owner, text, family_of_expression(text), "License field")
    if named:
        return License(owner, " / ".join(named), OTHER, "classifier")
    if text := distribution.license_file:
        family = family_of_name(text)
        shown = text[:60].rstrip() + ("…" if len(text) > 60 else "")
        return License(owner, shown, UNKNOWN if family == OTHER else family, "license file")
    return License(owner, "", UNKNOWN, "it names none")


def family_of_name(name: str) -> str:
    """The family of one license by its name, identifier or beginning; ``OTHER`` where none fits."""
    return next((family for family, known in _COMPILED if known.search(name)), OTHER)


def family_of_expression(expression: str) -> str:
    """
    The family of an SPDX expression: of ``OR`` the freer side, of ``AND`` the stricter.

    Text that is no expression is taken as a name.
    """
    tokens = _TOKEN.findall(expression)
    if not any(token.upper() in ("AND", "OR", "WITH") for token in tokens):
        return family_of_name(expression)
    try:
        family, rest = _alternatives(tokens)
    except (IndexError, RecursionError):  # it ends too soon, or is nested beyond reason
        return family_of_name(expression)
    return family_of_name(expression) if rest else family


def _alternatives(tokens: list[str]) -> tuple[str, list[str]]:
    family, rest = _together(tokens)
    while rest and rest[0].upper() == "OR":
        other, rest = _together(rest[1:])
        family = min(family, other, key=FAMILIES.index)
    return family, rest


def _together(tokens: list[str]) -> tuple[str, list[str]]:
    family, rest = _one(tokens)
    while rest and rest[0].upper() == "AND":
        other, rest = _one(rest[1:])
        family = max(family, other, key=FAMILIES.index)
    return family, rest


def _one(tokens: list[str]) -> tuple[str, list[str]]:
    if tokens[0] == "(":
        family, rest = _alternatives(tokens[1:])
        if rest[0] != ")":
            raise IndexError
        return family, rest[1:]
    family, rest = family_of_name(tokens[0]), tokens[1:]
    if rest and rest[0].upper() == "WITH":
        exception, rest = rest[1], rest[2:]
        if family == STRONG and _EXCEPTION.search(exception):
            family = WEAK
    return family, rest
