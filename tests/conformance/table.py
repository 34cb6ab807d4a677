"""``python -m tests.conformance.table`` writes docs/conformance.md from the collected tests."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping

from tests.conformance.cases import Case, contradictions, sections
from tests.conformance.collection import ROOT, answers

PAGE = ROOT / "docs" / "conformance.md"

INTRODUCTION = """\
# Conformance

The language-neutral cases that FlowStone was specified by, and the tests that answer them. "Later"
names what a case waits for. This page is written by `make docs` from the tests' `conformance`
markers and `tests/conformance/cases.toml`; a test fails when it is stale.
"""


def page(found: Mapping[int, list[str]]) -> str:
    """Return the whole page for the given test ids by case number."""
    return "\n".join([INTRODUCTION, *_summary(found), *_tables(found)])


def _summary(found: Mapping[int, list[str]]) -> Iterator[str]:
    yield "| section | cases | tested | later | not applicable |"
    yield "|---|---:|---:|---:|---:|"
    total: Counter[str] = Counter()
    for section in sections():
        count = Counter(_state(case, found) for case in section.cases)
        total += count
        yield _row(f"{section.letter}. {section.title}", *_figures(count))
    yield _row("all", *_figures(total))


def _tables(found: Mapping[int, list[str]]) -> Iterator[str]:
    for section in sections():
        yield f"\n## {section.letter}. {section.title}\n"
        yield "| case | title | answer |"
        yield "|---:|---|---|"
        for case in section.cases:
            yield _row(str(case.number), case.title, _answer(case, found))
    yield ""


def _state(case: Case, found: Mapping[int, list[str]]) -> str:
    if case.number in found:
        return "tested"
    return "not applicable" if case.not_applicable else "later"


def _answer(case: Case, found: Mapping[int, list[str]]) -> str:
    state = _state(case, found)
    if state == "tested":
        return "<br>".join(f"`{test_id}`" for test_id in found[case.number])
    return f"{state}: {case.not_applicable or case.later}"


def _figures(count: Counter[str]) -> list[str]:
    return [
        str(n) for n in (count.total(), count["tested"], count["later"], count["not applicable"])
    ]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> int:
    """Write the page, or say what contradicts itself and leave the page as it was."""
    found = answers()
    wrong = contradictions(found)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(found), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(found)} cases answered by tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
