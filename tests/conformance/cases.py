"""The cases of the conformance list, and where each of them stands."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("cases.toml")


@dataclass(frozen=True, slots=True)
class Case:
    """One case as cases.toml has it; ``tests`` are not in it, they are found."""

    number: int
    title: str
    section: str
    later: str | None
    """What an unanswered case waits for."""
    listed_as_later: bool
    """Named under ``later``, so that a test for it is a contradiction."""
    not_applicable: str | None
    """The reason."""


@dataclass(frozen=True, slots=True)
class Section:
    letter: str
    title: str
    cases: tuple[Case, ...]


@cache
def sections() -> tuple[Section, ...]:
    return tuple(_read())


@cache
def cases() -> Mapping[int, Case]:
    return {case.number: case for section in sections() for case in section.cases}


def contradictions(answers: Mapping[int, list[str]]) -> list[str]:
    """
    Say what is wrong with the list, one line each; none when all is well.

    Args:
        answers: Test ids by the number of the case they answer.
    """
    wrong = [
        f"{', '.join(answers[number])}: there is no case {number}"
        for number in sorted(answers.keys() - cases().keys())
    ]
    for case in cases().values():
        if case.listed_as_later and case.not_applicable:
            wrong.append(f"case {case.number} is both later and not applicable")
        if case.number not in answers:
            if not (case.later or case.not_applicable):
                wrong.append(
                    f"case {case.number} ({case.title}) has no test: mark one with "
                    f"@pytest.mark.conformance({case.number}), or list it in {LIST.name}"
                )
        elif case.listed_as_later or case.not_applicable:
            state = "later" if case.listed_as_later else "not applicable"
            wrong.append(
                f"case {case.number} is answered by {answers[case.number][0]}: "
                f"take it from `{state}` in {LIST.name}"
            )
    return wrong


def _read() -> Iterator[Section]:
    for letter, content in tomllib.loads(LIST.read_text(encoding="utf-8")).items():
        later: dict[str, str] = content.get("later", {})
        not_applicable: dict[str, str] = content.get("not_applicable", {})
        unknown = (later.keys() | not_applicable.keys()) - content["cases"].keys()
        if unknown:
            raise ValueError(f"{LIST.name}: section {letter} has no case {', '.join(unknown)}")
        yield Section(
            letter=letter,
            title=content["title"],
            cases=tuple(
                Case(
                    number=int(number),
                    title=title,
                    section=letter,
                    later=later.get(number, content.get("later_by_default")),
                    listed_as_later=number in later,
                    not_applicable=not_applicable.get(number),
                )
                for number, title in content["cases"].items()
            ),
        )
