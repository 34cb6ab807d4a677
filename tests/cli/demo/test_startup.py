import sys
from pathlib import Path

import pytest

from flowstone.cli.demo.records import StartupFile
from flowstone.cli.demo.startup import CannotStartError, measure_startup, startup_files
from tests.cli.demo.made_environment import MadeEnvironment


def test_a_pth_file_runs_code_and_adds_folders(made: MadeEnvironment) -> None:
    made.write("b.pth", b"# a comment\n\nimport sys; sys.path\nsrc\nimport\tos\nimportant\n")
    made.write("a.pth", b"\xef\xbb\xbf../lib\n")
    made.write(".hidden.pth", b"import sys\n")

    assert startup_files([made.site]) == (
        StartupFile("a.pth", code=(), folders=("../lib",)),
        StartupFile("b.pth", ("import sys; sys.path", "import os"), ("src", "important")),
    )


def test_a_pth_file_that_is_no_text_is_read_nevertheless(made: MadeEnvironment) -> None:
    made.write("a.pth", b"\xff\xfe\0\n")
    (made.site / "b.pth").mkdir()

    assert [file.name for file in startup_files([made.site])] == ["a.pth", "b.pth"]


async def test_a_start_is_timed_with_the_site_folders_and_without(made: MadeEnvironment) -> None:
    measured = await measure_startup(sys.executable, [made.site])

    assert measured.with_site_us > 0
    assert measured.without_site_us > 0


async def test_a_python_that_cannot_start_says_so(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)

    with pytest.raises(CannotStartError, match="no executable"):
        await measure_startup("", [])
    with pytest.raises(CannotStartError, match="absent"):
        await measure_startup(str(tmp_path / "absent"), [])
    with pytest.raises(CannotStartError, match="ends with code 7"):
        await measure_startup(str(broken), [])
