"""``flowstone check``: what is wrong with the definitions, all of it, without a database."""

import importlib
import traceback
from pathlib import Path

import click

import flowstone
from flowstone.cli.application import load
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import number, print_document
from flowstone.cli.settings import Output, Settings
from flowstone.core.asset import Location
from flowstone.core.definitions import check
from flowstone.core.errors import DefinitionError, FlowStoneError, NotRegisteredError, Problem

PACKAGE = Path(flowstone.__file__).parent

TEXT, JSON, GITHUB = "text", "json", "github"


@click.command(cls=Command)
@click.option(
    "--types",
    is_flag=True,
    help="Also compare what each asset returns with what its consumers are annotated to get; "
    "for projects without a type checker. Looks once nothing else is wrong.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([TEXT, JSON, GITHUB]),
    help="json is what -o json prints; github marks the lines of a pull request.",
)
@pass_settings
def check_command(settings: Settings, types: bool, format_: str | None) -> ExitCode:
    """Check the definitions; needs no database. All problems are told at once."""
    summary, problems = _checked(settings, types=types)
    if format_ == GITHUB:
        for problem in problems:
            click.echo(annotation(problem))
    else:
        if format_ is not None:
            settings.output = Output.JSON if format_ == JSON else Output.TABLE
        document = {"is_sound": not problems, "problems": [_document(it) for it in problems]}
        text = "\n\n".join(map(str, problems))
        print_document(settings, document, f"{text}\n\n{summary}" if text else summary)
    return ExitCode.USAGE if problems else ExitCode.OK


def _checked(settings: Settings, *, types: bool) -> tuple[str, list[Problem]]:
    """Return what was checked, in words, and what is wrong with it."""
    try:
        app = load(settings)
    except (DefinitionError, NotRegisteredError) as error:
        told = error.problems if isinstance(error, DefinitionError) else ()
        found = list(told) or [_raised(error)]
        return number(len(found), "problem"), found
    found = check(app.pipelines, types=types)
    assets = number(len(app.definitions), "asset")
    pipelines = number(len(app.definitions.pipelines), "pipeline")
    said = number(len(found), "problem") if found else "nothing is wrong"
    return f"{assets} in {pipelines}: {said}", found


def _raised(error: FlowStoneError) -> Problem:
    """Return the one problem that stopped the import, at the author's line that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [it for it in frames if not it.filename.startswith("<") and not _is_ours(it.filename)]
    where = str(Location(own[-1].filename, own[-1].lineno or 1)) if own else None
    return Problem(str(error).removeprefix(f"{where}  "), where=where)


def _is_ours(filename: str) -> bool:
    file = Path(filename)
    return file.is_relative_to(PACKAGE) or file.is_relative_to(Path(importlib.__file__).parent)


def annotation(problem: Problem) -> str:
    """
    Return the workflow command that marks a problem's line.

    Source: GitHub, "Workflow commands for GitHub Actions", ``error``; its escapes are those of
    ``@actions/core``.
    """
    file, line = _place(problem)
    properties = {"file": file, "line": line, "title": problem.asset}
    given = ",".join(
        f"{name}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
        if value is not None
    )
    fix = f"\n{problem.fix}" if problem.fix else ""
    return f"::error {given}".rstrip() + f"::{_escaped(problem.message + fix)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _document(problem: Problem) -> dict[str, object]:
    file, line = _place(problem)
    return {
        "file": file,
        "line": line,
        "asset": problem.asset,
        "message": problem.message,
        "fix": problem.fix,
    }


def _place(problem: Problem) -> tuple[str | None, int | None]:
    file, _, line = (problem.where or "").rpartition(":")
    return (file, int(line)) if line.isdecimal() else (problem.where, None)
