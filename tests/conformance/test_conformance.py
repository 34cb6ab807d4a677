"""Every case of the conformance list has a test, a place in the plan, or a reason for neither."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.cases import cases, contradictions, sections
from tests.conformance.collection import answers
from tests.conformance.table import PAGE, page

pytestmark = pytest.mark.timeout(300)  # all tests are collected once more

NUMBERS = {
    "A": "1-15 24 28",
    "B": "29-44 48",
    "C": "50-56 59",
    "D": "63-74 76 78",
    "E": "83-90 92",
    "F": "94-104 106",
    "G": "113-120 122 123",
    "H": "124-134 141",
    "I": "142-160 163 166 173",
    "J": "176-187 190 193",
    "K": "194-203 209",
    "L": "210-227 229 240 245",
    "M": "246-260 262 270 273",
    "N": "274-293 298",
    "O": "304-316 323",
    "P": "325-337 344",
    "Q": "347-365 373 375 377",
    "R": "379-387 394",
    "S": "395-404 410",
    "T": "411-418 422",
    "U": "425-431",
    "V": "438-454 456 462",
    "W": "464-469 471",
    "X": "475-481 484",
    "Y": "485-489",
    "Z": "492-501",
    "AA": "504-513",
}

SAMPLE = """
import pytest

@pytest.mark.conformance(1, 2)
def test_function(): ...

@pytest.mark.conformance(3)
class TestClass:
    @pytest.mark.parametrize("x", [1, 2])
    def test_method(self, x): ...

@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.conformance(4))])
def test_parameter(x): ...

class TestHeir(TestClass): ...
"""


@pytest.fixture(scope="module")
def found() -> Mapping[int, list[str]]:
    return answers()


def test_every_number_has_its_section_and_title() -> None:
    listed = {section.letter: [case.number for case in section.cases] for section in sections()}

    assert {letter: _numbers(text) for letter, text in NUMBERS.items()} == listed
    assert len(cases()) == 352
    assert all(0 < len(case.title.split()) <= 8 for case in cases().values())


def test_every_case_is_answered_or_says_why_not(found: Mapping[int, list[str]]) -> None:
    assert contradictions(found) == []


def test_the_page_is_what_make_docs_would_write(found: Mapping[int, list[str]]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(found), "stale: run `make docs`"


def test_a_case_without_test_plan_or_reason_is_reported() -> None:
    complete = {number: ["tests/test_x.py::test_x"] for number in _answerable()}
    number = next(iter(complete))

    del complete[number]

    assert [line for line in contradictions(complete) if f"case {number} " in line]


def test_an_unknown_number_is_reported_with_its_test() -> None:
    complete = {number: ["tests/test_x.py::test_x"] for number in _answerable()}

    complete[16] = ["tests/test_y.py::test_y"]

    assert contradictions(complete) == ["tests/test_y.py::test_y: there is no case 16"]


def test_a_case_cannot_be_answered_and_excused() -> None:
    complete = {number: ["tests/test_x.py::test_x"] for number in _answerable()}
    excused = next(case for case in cases().values() if case.not_applicable)

    complete[excused.number] = ["tests/test_y.py::test_y"]

    assert len(contradictions(complete)) == 1


def test_markers_are_found_on_functions_classes_parameters_and_heirs(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_sample.py").write_text(SAMPLE)

    found = answers(tmp_path)

    assert found == {
        1: ["test_sample.py::test_function"],
        2: ["test_sample.py::test_function"],
        3: ["test_sample.py::TestClass::test_method", "test_sample.py::TestHeir::test_method"],
        4: ["test_sample.py::test_parameter[2]"],
    }


def test_a_module_that_cannot_be_collected_is_shown(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text("import a_module_that_is_not_there")

    with pytest.raises(RuntimeError, match="a_module_that_is_not_there"):
        answers(tmp_path)


def _answerable() -> list[int]:
    return [
        case.number
        for case in cases().values()
        if not (case.listed_as_later or case.not_applicable)
    ]


def _numbers(text: str) -> list[int]:
    spans = [span.partition("-") for span in text.split()]
    return [n for first, _, last in spans for n in range(int(first), int(last or first) + 1)]
