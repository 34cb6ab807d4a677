"""``flowstone check`` tells everything that is wrong, without a database."""

from pathlib import Path

import pytest

from flowstone.cli.check_command import annotation
from flowstone.core.errors import Problem
from tests.cli.invocation import flowstone

HEAD = """\
from flowstone import Dep, FlowStone, Pipeline

sales = Pipeline("sales")
"""

TWO_PROBLEMS = f"""\
{HEAD}
@sales.asset
def numbers() -> list[int]:
    return [1]

@sales.asset
def doubled(numbers: list[int]) -> list[int]:
    return numbers

@sales.asset(after=["nubmers"])
def late() -> None: ...

app = FlowStone([sales])
"""

WRONG_TYPE = f"""\
{HEAD}
@sales.asset
def numbers() -> list[int]:
    return [1]

@sales.asset
def shouted(base: str = Dep(numbers)) -> str:
    return base.upper()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # Whoever would connect fails.
    monkeypatch.setenv("FLOWSTONE_DSN", "postgresql://nobody@/nothing?host=/nonexistent")
    return tmp_path


def test_sound_definitions_are_counted(project: Path) -> None:
    ended = flowstone("check")

    assert ended.exit_code == 0
    assert ended.stdout == "9 assets in 2 pipelines: nothing is wrong\n"


def test_every_problem_is_told_at_once_with_the_line_to_write(folder: Path) -> None:
    (folder / "wrong.py").write_text(TWO_PROBLEMS)

    ended = flowstone("check", "--app", "wrong:app")

    assert ended.exit_code == 2
    assert "wrong.py:9  asset 'sales.doubled': parameter 'numbers' has no source." in ended.stdout
    assert "      numbers: list[int] = Dep(numbers)\n" in ended.stdout
    assert "Did you mean 'sales.numbers'?" in ended.stdout
    assert ended.stdout.endswith("\n2 problems\n")


def test_a_pipeline_alone_is_checked_too(folder: Path) -> None:
    (folder / "wrong.py").write_text(TWO_PROBLEMS.replace("app = FlowStone([sales])", ""))

    assert flowstone("check", "--app", "wrong:sales").stdout.endswith("\n2 problems\n")


def test_an_error_while_a_module_is_imported_is_a_problem_of_the_line(folder: Path) -> None:
    (folder / "wrong.py").write_text(f'{HEAD}\nbase = Dep("numbers")\n')

    ended = flowstone("check", "--app", "wrong:sales")

    assert ended.exit_code == 2
    assert ended.stdout.startswith('wrong.py:5  Dep("numbers") needs the type too')


def test_an_io_manager_that_is_not_given_is_a_problem(folder: Path) -> None:
    lake = f'{HEAD}\n@sales.asset(io="lake")\ndef numbers() -> int: ...\n\napp = FlowStone(sales)\n'
    (folder / "wrong.py").write_text(lake)

    ended = flowstone("check", "--app", "wrong:app")

    assert ended.exit_code == 2
    assert "lake" in ended.stdout


def test_types_are_compared_when_asked_for(folder: Path) -> None:
    (folder / "wrong.py").write_text(WRONG_TYPE)

    plain = flowstone("check", "--app", "wrong:sales")
    strict = flowstone("check", "--app", "wrong:sales", "--types")

    assert plain.exit_code == 0
    assert strict.exit_code == 2
    assert "Dep(numbers) gives list[int], parameter 'base' wants str" in strict.stdout


@pytest.mark.parametrize("said", [("--format", "json"), ("-o", "json")], ids=" ".join)
def test_machines_get_each_problem_with_its_place(folder: Path, said: tuple[str, str]) -> None:
    (folder / "wrong.py").write_text(TWO_PROBLEMS)

    document = flowstone("check", "--app", "wrong:app", *said).document

    assert document["is_sound"] is False
    assert document["problems"][0] == {
        "file": "wrong.py",
        "line": 9,
        "asset": "sales.doubled",
        "message": "parameter 'numbers' has no source.\n"
        "  There is an asset with that name. Did you mean",
        "fix": "numbers: list[int] = Dep(numbers)",
    }


def test_github_gets_a_mark_on_each_line(folder: Path) -> None:
    (folder / "wrong.py").write_text(TWO_PROBLEMS)

    ended = flowstone("check", "--app", "wrong:app", "--format", "github")

    first, second = ended.stdout.splitlines()
    assert first.startswith("::error file=wrong.py,line=9,title=sales.doubled::parameter 'numbers'")
    assert first.endswith("Did you mean%0Anumbers: list[int] = Dep(numbers)")
    assert second.startswith("::error file=wrong.py,line=13,title=sales.late::")
    assert ended.exit_code == 2


def test_nothing_in_a_problem_can_end_its_mark() -> None:
    mark = annotation(Problem("100%\r\n::error::", where="a,b:c.py:7", asset="x"))

    assert mark == "::error file=a%2Cb%3Ac.py,line=7,title=x::100%25%0D%0A::error::"


def test_a_problem_without_a_place_is_marked_without_one() -> None:
    assert annotation(Problem("wrong")) == "::error::wrong"


def test_the_demo_s_own_pipeline_is_sound() -> None:
    ended = flowstone("check", "--types", "--app", "flowstone.cli.demo.pipeline:environment")

    assert ended.stdout == "10 assets in 1 pipeline: nothing is wrong\n"
