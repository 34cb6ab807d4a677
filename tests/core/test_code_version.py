import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowstone.core.code_version import code_version

FUNCTION = '''
def report(base, limit=3):
    """Sum up."""
    total = sum(base)
    return total + limit
'''

SAME = {
    "comments": FUNCTION.replace("    total", "    # why\n    total"),
    "formatting": FUNCTION.replace("sum(base)", "(\n        sum( base )\n    )"),
    "docstring": FUNCTION.replace("Sum up.", "Add up."),
    "no docstring": FUNCTION.replace('    """Sum up."""\n', ""),
    "annotations": FUNCTION.replace("(base, limit=3)", "(base: list[int], limit: int = 3) -> int"),
    "decorators": FUNCTION.replace("def ", "@(lambda it: it)\ndef "),
    "another function": "def other():\n    return 1\n" + FUNCTION + "\ndef more():\n    return 2\n",
    "another place": "\n\n\n" + FUNCTION,
}

OTHER = {
    "a constant": FUNCTION.replace("+ limit", "+ limit + 1"),
    "a name": FUNCTION.replace("sum(", "max("),
    "a default": FUNCTION.replace("limit=3", "limit=4"),
    "a parameter": FUNCTION.replace("limit", "most"),
    "async": FUNCTION.replace("def ", "async def "),
}


@pytest.fixture
def version(tmp_path: Path) -> Callable[[str], str]:
    """Return the version of ``report`` in a file with this source."""

    def version(source: str) -> str:
        file = tmp_path / "module.py"
        file.write_text(source)
        namespace: dict[str, Any] = {}
        exec(compile(source, str(file), "exec"), namespace)
        return code_version([namespace["report"]])

    return version


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_does_not_compute_does_not_count(version: Callable[[str], str], source: str) -> None:
    assert version(FUNCTION) == version(source)


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_what_computes_counts(version: Callable[[str], str], source: str) -> None:
    assert version(FUNCTION) != version(source)


def test_every_function_of_an_asset_counts() -> None:
    def gather() -> int:
        return 1

    def body() -> int:
        return 2

    assert len({code_version(it) for it in ([body], [gather], [body, gather], [gather, body])}) == 4


class TestWithoutSource:
    def made(self, source: str) -> str:
        namespace: dict[str, Any] = {}
        exec(compile(source, "<made>", "exec"), namespace)
        return code_version([namespace["report"]])

    def test_bytecode_tells_functions_apart(self) -> None:
        assert self.made(FUNCTION) == self.made(SAME["comments"]) == self.made(SAME["docstring"])
        assert self.made(FUNCTION) != self.made(OTHER["a constant"])
        assert self.made(FUNCTION) != self.made(OTHER["a name"])

    def test_inner_functions_count(self) -> None:
        inner = "def report():\n    def inner():\n        return {}\n    return inner\n"

        assert self.made(inner.format(1)) == self.made(inner.format(1))
        assert self.made(inner.format(1)) != self.made(inner.format(2))

    def test_lambdas_of_one_line_are_told_apart(self) -> None:
        one, two = (lambda: 1), (lambda: 2)

        assert code_version([one]) != code_version([two])

    def test_a_function_in_c_has_one_too(self) -> None:
        assert code_version([len]) == code_version([len]) != code_version([max])


@pytest.mark.parametrize("file", ["module.py", None])
def test_it_is_the_same_in_every_process(tmp_path: Path, file: str | None) -> None:
    source = "def report(x):\n    return x in {'a', 'b', 'c', ('d', 'e')}\n"
    path = tmp_path / "module.py"
    path.write_text(source)
    where = str(path) if file else "<made>"
    program = (
        "from flowstone.core.code_version import code_version\n"
        f"names = {{}}\nexec(compile({source!r}, {where!r}, 'exec'), names)\n"
        "print(code_version([names['report']]))"
    )
    versions = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(versions) == 1


def test_a_file_that_changed_after_it_was_loaded_is_read_again(
    version: Callable[[str], str],
) -> None:
    first = version(FUNCTION)

    changed = version(OTHER["a constant"])

    assert first != changed
    assert version(FUNCTION) == first


def test_a_file_that_does_not_parse_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("def report(:")
    namespace: dict[str, Any] = {}
    exec(compile(ast.parse(FUNCTION), str(file), "exec"), namespace)

    assert len(code_version([namespace["report"]])) == 16
