"""Assets of a script: a child process imports it, as `multiprocessing` would."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os
from flowstone import FlowStone, Pipeline, run_sync

p = Pipeline("p")

class Odd(Exception):
    pass

@p.asset(executor="process", retry=1)
def pid() -> int:
    return os.getpid()

app = FlowStone(p)
"""
WORK = """
    print(run_sync(app, pid) != os.getpid())
"""
GUARD = """
if __name__ == "__main__":"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.py"


def play(
    *arguments: str, folder: Path, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.mark.parametrize("how", [["script.py"], ["-m", "script"]])
def test_one_that_begins_when_it_is_run_works(script: Path, how: list[str]) -> None:
    script.write_text(SCRIPT.replace("", "") + GUARD + WORK)

    ended = play(*how, folder=script.parent)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)


def test_its_exceptions_are_called_as_the_script_calls_them(script: Path) -> None:
    raising = SCRIPT.replace("", "").replace("return os.getpid()", 'raise Odd("told")')
    script.write_text(raising + GUARD + WORK)

    ended = play("script.py", folder=script.parent)

    assert "\n__main__.Odd: told\n" in ended.stderr.replace("\nOdd:", "\n__main__.Odd:")
    assert "__mp_main__.Odd: told\nin child" not in ended.stderr


def test_one_that_begins_when_it_is_imported_is_told_what_to_write(script: Path) -> None:
    script.write_text(SCRIPT.replace("", "") + WORK.replace("    print", "print"))

    ended = play("script.py", folder=script.parent)

    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith('Begin the work below\n\n    if __name__ == "__main__":')


def test_what_is_typed_in_is_refused_when_the_application_is_built(tmp_path: Path) -> None:
    ended = play("-", folder=tmp_path, given=SCRIPT.replace("", ""))

    assert "what was typed into a prompt or a notebook cannot be imported" in ended.stderr
