"""The table of what the queue can do names tests that there are, and says what is missing."""

import re

from tests.architecture.sources import ROOT

PAGE = ROOT / "docs" / "queue-features.md"
SHOWN = re.compile(r"\[test\]\(\.\./([^)]+)\) `(\w+)`")


def rows() -> list[list[str]]:
    lines = [it for it in PAGE.read_text(encoding="utf-8").splitlines() if it.startswith("|")]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [it for it in cells if it[0] != "feature" and not it[0].startswith("-")]


def test_every_row_is_whole() -> None:
    assert len(rows()) > 40
    assert [it for it in rows() if len(it) != 4 or not it[0] or not it[1]] == []


def test_every_test_that_is_named_is_there() -> None:
    named = [found for row in rows() for found in SHOWN.findall(row[3])]

    assert len(named) > 35
    gone = [it for it in named if f"def {it[1]}(" not in (ROOT / it[0]).read_text(encoding="utf-8")]
    assert gone == []


def test_what_is_there_is_shown_and_what_is_not_says_so() -> None:
    for feature, here, _, shown in rows():
        assert bool(shown) != here.startswith("no"), feature
