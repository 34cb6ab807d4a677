"""
What a type checker says about pipelines, right and wrong ones.

The modules beside this one are never run. A line that a checker must refuse ends in ``# E:``, or in
``# E[pyright]:`` where only one of the checkers does; every other line must pass.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLES = sorted(file for file in HERE.glob("*.py") if not file.name.startswith("test_"))

Places: TypeAlias = set[tuple[str, int]]

pytestmark = pytest.mark.timeout(240)


def expected(checker: str) -> Places:
    """Return file name and line of what the checker must refuse."""
    mark = re.compile(rf"# E(\[{checker}\])?:")
    return {
        (file.name, number)
        for file in SAMPLES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if mark.search(line)
    }


def said_by_mypy() -> dict[tuple[str, int], str]:
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--explicit-package-bases"]
    ended = run("mypy", *options, "--output=json", *map(str, SAMPLES))
    messages = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return {
        (Path(it["file"]).name, it["line"]): it["message"]
        for it in messages
        if it["severity"] == "error"
    }


def said_by_pyright(settings: Path) -> dict[tuple[str, int], str]:
    settings.write_text(
        json.dumps(
            {
                "include": [os.path.relpath(file, settings.parent) for file in SAMPLES],
                "extraPaths": [str(ROOT)],
                "typeCheckingMode": "strict",
                "pythonPlatform": "Linux",
                "reportUnusedExpression": "none",
                "reportUnusedCallResult": "none",
            }
        )
    )
    ended = run(
        "pyright", "--outputjson", "--project", str(settings), f"--pythonpath={sys.executable}"
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return {
        (Path(it["file"]).name, it["range"]["start"]["line"] + 1): it["message"]
        for it in json.loads(ended.stdout)["generalDiagnostics"]
        if it["severity"] == "error"
    }


def run(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def difference(expected: Places, said: dict[tuple[str, int], str]) -> list[str]:
    """Return the lines about which expectation and checker disagree."""
    return [
        *(
            f"{file}:{line}: passes, and should not"
            for file, line in sorted(expected - said.keys())
        ),
        *(f"{file}:{line}: {said[file, line]}" for file, line in sorted(said.keys() - expected)),
    ]


def test_mypy_refuses_what_is_wrong_and_nothing_else() -> None:
    assert difference(expected("mypy"), said_by_mypy()) == []


def test_pyright_refuses_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    assert difference(expected("pyright"), said_by_pyright(tmp_path / "pyrightconfig.json")) == []


def test_there_is_something_to_refuse() -> None:
    assert len(expected("mypy")) > 30 < len(expected("pyright"))
