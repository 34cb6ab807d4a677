import io

import pytest
from rich.console import Console

from flowstone.cli.demo.records import Report, Startup, StartupFile
from flowstone.cli.demo.terminal import render
from tests.cli.demo.made_environment import MadeEnvironment

STARTUP = Startup((StartupFile("x.pth", ("import " + "x" * 300,), ()),), 15_000, 12_000)


def shown(report: Report, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    render(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def hurt(made: MadeEnvironment) -> MadeEnvironment:
    made.install("low", files={"low/a.py": b"1", f"low/{'long' * 40}.py": b"1" * 5_000})
    made.install("high", requires=["low", "absent"], headers=["License: MIT"])
    made.write("low/a.py", b"2")
    made.write("stray.py")
    return made


@pytest.mark.parametrize("width", [60, 100, 240])
def test_fits_the_terminal_and_never_needs_more_than_100_columns(
    hurt: MadeEnvironment, width: int
) -> None:
    lines = shown(hurt.report(STARTUP), width).splitlines()

    assert max(map(len, lines)) <= min(width, 100)


def test_says_the_answer_first(hurt: MadeEnvironment) -> None:
    text = shown(hurt.report(STARTUP))

    assert text.splitlines()[1].strip("│ ") == (
        "This environment is not intact: 1 file has changed, in 1 distribution."
    )
    assert "changed: same size, other content" in text
    assert "low is needed by high" in text
    assert "high needs absent: not installed" in text


def test_takes_nothing_from_the_environment_as_markup(made: MadeEnvironment) -> None:
    name = "[red]thing[/red]"
    made.install("a", beside={"METADATA": f"Name: {name}\nVersion: 1\nLicense: [/]".encode()})
    made.install("b", requires=["[/bold]"])

    text = shown(made.report())

    assert name in text
    assert "[/bold]" in text


def test_does_not_show_findings_where_there_are_none(made: MadeEnvironment) -> None:
    made.install("thing", files={"thing.py": b"1"}, headers=["License: MIT"])

    text = shown(made.report())

    assert "This environment is intact" in text
    assert "Not as installed" not in text
    assert "What may surprise you" not in text


def test_counts_the_findings_that_it_does_not_show(made: MadeEnvironment) -> None:
    made.install("gone", record=[f"{number}.py,sha256=x,1" for number in range(40)])

    assert "and 30 files more" in shown(made.report())


def test_shows_an_empty_environment(made: MadeEnvironment) -> None:
    assert "Nothing here could be checked" in shown(made.report())
