"""Commands that installed packages bring are listed without being imported, and fail alone."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.imports import loaded_by
from tests.cli.invocation import flowstone

MODULE = """
import click
from flowstone.cli.command import Command, pass_settings

@click.command(cls=Command)
@click.argument("name")
@pass_settings
def greet(settings, name):
    "Greet somebody."
    click.echo(f"hello {name} {settings.dsn}")

not_a_command = 1
"""
Installed = Callable[..., Path]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """``installed("pkg", greet="module:greet")`` is a package with these commands."""

    def install(package: str, summary: str = "Greets.", **commands: str) -> Path:
        place = tmp_path / package
        (place / f"{package}-1.0.dist-info").mkdir(parents=True)
        points = "".join(f"{name} = {target}\n" for name, target in commands.items())
        (place / f"{package}-1.0.dist-info" / "entry_points.txt").write_text(
            f"[console_scripts]\nrun = x:y\n\n[flowstone.commands]\n{points}\n[other]\nno = a:b\n"
        )
        (place / f"{package}-1.0.dist-info" / "METADATA").write_text(
            f"Name: {package}\nSummary: {summary}\n\nSummary: not this one\n"
        )
        monkeypatch.syspath_prepend(place)
        return place

    return install


def test_help_lists_it_by_its_packages_description(installed: Installed) -> None:
    installed("greetings", greet="never.imported:greet", salute="never.imported:salute")

    lines = [it.split() for it in flowstone("--help").stdout.splitlines()]

    assert ["greet", "Greets."] in lines
    assert ["salute", "Greets."] in lines
    assert not [it for it in lines if it[:1] == ["no"]]


def test_help_imports_neither_it_nor_what_reads_entry_points(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = installed("greetings", greet="greetings_module:greet")
    (place / "greetings_module.py").write_text("raise AssertionError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(place))

    loaded = loaded_by("-m", "flowstone", "--help")

    assert {"greetings_module", "importlib.metadata"} & loaded == set()


def test_it_runs_with_the_global_options(installed: Installed) -> None:
    place = installed("greetings", greet="greetings_at_work:greet")
    (place / "greetings_at_work.py").write_text(MODULE)

    assert (
        flowstone("greet", "Ada", "--dsn", "postgresql://x").stdout == "hello Ada postgresql://x\n"
    )
    assert "Greet somebody." in flowstone("greet", "--help").stdout


@pytest.mark.parametrize(
    ("module", "attribute", "why"),
    [
        ("raise ValueError('torn')", "greet", "ValueError: torn"),
        ("import no_such_package", "greet", "no_such_package"),
        ("raise SystemExit(7)", "greet", "SystemExit"),
        (MODULE, "absent", "absent"),
        (MODULE, "not_a_command", "not a click.Command but a int"),
    ],
)
def test_a_broken_one_is_named_and_harms_no_other(
    installed: Installed, module: str, attribute: str, why: str
) -> None:
    name = f"greetings_broken_{abs(hash((module, attribute)))}"
    place = installed("greetings", greet=f"{name}:{attribute}", fine="greetings_fine:greet")
    (place / f"{name}.py").write_text(module)
    (place / "greetings_fine.py").write_text(MODULE)

    ended = flowstone("greet", "Ada")

    assert ended.exit_code == 3
    assert ended.stderr.startswith(
        f"error: command 'greet' cannot be imported ({name}:{attribute})"
    )
    assert why in ended.stderr
    assert flowstone("fine", "Ada").exit_code == 0
    assert flowstone("--help").exit_code == 0
    sys.modules.pop("greetings_fine", None)


def test_ours_go_before_theirs(installed: Installed) -> None:
    installed("greetings", summary="Theirs.", version="never.imported:version")

    assert flowstone("version").exit_code == 0
    assert "Theirs." not in flowstone("--help").stdout


def test_two_of_one_name_are_refused_by_both_names(installed: Installed) -> None:
    installed("one", greet="first.module:greet")
    installed("two", greet="second.module:greet")

    ended = flowstone("greet")

    assert ended.exit_code == 3
    assert "two packages bring a command 'greet'" in ended.stderr
    assert {"first.module:greet", "second.module:greet"} <= set(
        ended.stderr.replace(";", " ").split()
    )
    assert flowstone("version").exit_code == 0


def test_one_that_is_installed_twice_is_one(installed: Installed) -> None:
    for package in ("one", "two"):
        place = installed(package, greet="greetings_twice:greet")
        (place / "greetings_twice.py").write_text(MODULE)

    assert flowstone("greet", "Ada").exit_code == 0
