"""Help is there for every command, and costs nothing that it does not need."""

from collections.abc import Iterator, Mapping

import pytest

import flowstone as package
from flowstone.cli.command_table import COMMANDS, Entry
from tests.architecture.imports import loaded_by
from tests.cli.invocation import flowstone


def commands(entries: Mapping[str, Entry] = COMMANDS) -> Iterator[tuple[str, ...]]:
    for name, entry in entries.items():
        yield (name,)
        yield from ((name, *path) for path in commands(entry.commands))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    ended = flowstone(*path, "--help")

    assert ended.exit_code == 0
    assert f"Usage: flowstone {' '.join(path)}" in ended.stdout
    assert "--dsn" in ended.stdout


def test_help_imports_no_command_and_nothing_to_draw_with() -> None:
    loaded = loaded_by("-m", "flowstone", "--help")

    assert [name for name in loaded if name.endswith(("_command", "_commands"))] == []
    assert {name.partition(".")[0] for name in loaded} & {"rich", "tomllib"} == set()


@pytest.mark.parametrize("path", [(), ("runs",), ("db",)], ids=["flowstone", "runs", "db"])
def test_a_group_without_a_command_shows_its_help_and_is_a_usage_error(
    path: tuple[str, ...],
) -> None:
    ended = flowstone(*path)

    assert ended.exit_code == 2
    assert "Commands:" in ended.stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["rum"], "error: No such command 'rum'. Did you mean 'run'?"),
        (["asset", "histroy"], "error: No such command 'histroy'. Did you mean 'history'?"),
        (["xyz"], "error: No such command 'xyz'."),
    ],
)
def test_an_unknown_command_is_a_usage_error(typed: list[str], said: str) -> None:
    ended = flowstone(*typed)

    assert ended.exit_code == 2
    assert ended.stderr.splitlines()[0] == said


def test_an_unknown_option_is_a_usage_error() -> None:
    ended = flowstone("version", "--fast")

    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: No such option")
    assert ended.stderr.endswith("Try 'flowstone version --help'.\n")


def test_global_options_come_before_or_after_the_command_and_the_last_counts() -> None:
    before = flowstone("-o", "json", "version")
    after = flowstone("version", "-o", "json")
    both = flowstone("-o", "json", "version", "-o", "table")

    assert before.document == after.document
    assert before.document == {"schema_version": 1, "version": package.__version__}
    assert both.stdout == f"{package.__version__}\n"


def test_json_lines_take_one_line() -> None:
    assert flowstone("version", "-o", "jsonl").stdout.count("\n") == 1


def test_a_traceback_is_shown_only_when_asked_for() -> None:
    plain = flowstone("plan", "report", "--app", "nowhere:app")
    verbose = flowstone("plan", "report", "--app", "nowhere:app", "-v")

    assert "Traceback" not in plain.stderr
    assert "Traceback" in verbose.stderr
    assert plain.exit_code == verbose.exit_code == 2


def test_a_flag_that_a_command_uses_for_itself_keeps_its_long_form() -> None:
    text = flowstone("worker", "-h").stdout

    assert "-q, --queues" in text
    assert "--quiet" in text
    assert "-q, --quiet" not in text
