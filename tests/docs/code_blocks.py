"""The code blocks of a Markdown page, each with what stands above it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.sources import ROOT


@dataclass(frozen=True, slots=True)
class Block:
    """
    One fenced block.

    Attributes:
        heading: The nearest heading above it, without its number signs.
        before: The last line of text above it.
        line: Where its text begins, from 1.
    """

    language: str
    text: str
    heading: str
    before: str
    line: int

    def __str__(self) -> str:
        return f"{self.heading}, line {self.line}"


def blocks(page: str, language: str | None = None) -> list[Block]:
    """Return a page's blocks in their order, all of them or those of one language."""
    found = _blocks(ROOT / page)
    return [it for it in found if language is None or it.language == language]


def links(page: str) -> list[str]:
    """Return what the page links to within the repository, relative to the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [it.partition("#")[0] for it in targets if not it.startswith(("http", "#"))]


def _blocks(page: Path) -> Iterator[Block]:
    heading = before = language = ""
    collected: list[str] | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if collected is not None:
            if line == "```":
                text = "\n".join(collected) + "\n"
                yield Block(language, text, heading, before, number - len(collected))
                collected = None
            else:
                collected.append(line)
        elif line.startswith("```"):
            language, collected = line.removeprefix("```"), []
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.strip():
            before = line
