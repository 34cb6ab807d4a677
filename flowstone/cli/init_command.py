"""
``flowstone init``: a first pipeline, its test, and the lines of ``pyproject.toml`` that name it.

Nothing is overwritten unless that is asked for. A ``pyproject.toml`` that is there already stays as
it is, except that the tables it does not have are added at its end.
"""

import re
import shlex
import tomllib
from pathlib import Path

import click

from flowstone.cli.command import Command, pass_settings
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import note, print_document, warn
from flowstone.cli.settings import Settings

PIPELINE = '''\
"""What customers spent: from orders to a report. Try: flowstone run report"""

from dataclasses import dataclass
from datetime import date

from flowstone import Context, Dep, FlowStone, Pipeline

sales = Pipeline("sales")


@dataclass(frozen=True)
class Order:
    """One purchase."""

    customer: str
    cents: int


@sales.asset
async def orders(ctx: Context[date | None]) -> list[Order]:
    """Every order; a file, a table or a service would be read here."""
    ctx.log.info("reading the orders of %s", ctx.partition or "all time")
    return [Order("Ada", 4_200), Order("Grace", 1_350), Order("Ada", 800)]


@sales.asset
def totals(orders: list[Order] = Dep(orders)) -> dict[str, int]:
    """Cents by customer. A plain function like this one runs in a thread."""
    spent: dict[str, int] = {}
    for order in orders:
        spent[order.customer] = spent.get(order.customer, 0) + order.cents
    return spent


@sales.asset
async def report(totals: dict[str, int] = Dep(totals)) -> str:
    """Who spent most, first."""
    ranked = sorted(totals.items(), key=lambda each: -each[1])
    return "\\n".join(f"{customer:10} {cents / 100:8.2f}" for customer, cents in ranked)


app = FlowStone([sales])
'''

TEST = '''\
"""Assets are plain functions, and the pipeline runs in memory, without a database."""

from flowstone import run_sync

from pipeline import Order, app, report, totals


def test_a_customer_s_orders_are_added_up() -> None:
    orders = [Order("Ada", 1), Order("Grace", 2), Order("Ada", 3)]

    assert totals(orders) == {"Ada": 4, "Grace": 2}


def test_the_report_begins_with_who_spent_most() -> None:
    text = run_sync(app, report)

    assert text.split() == ["Ada", "50.00", "Grace", "13.50"]
'''

PROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["flowstone[embedded]"]
"""

FLOWSTONE = """\
[tool.flowstone]
app = "pipeline:app"
"""

BUGBEAR = """\
[tool.ruff.lint.flake8-bugbear]
extend-immutable-calls = ["flowstone.Dep", "flowstone.Requires"] # an edge is a default value
"""


@click.command(cls=Command)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the pipeline and its test.")
@pass_settings
def init_command(settings: Settings, folder: Path, force: bool) -> ExitCode:
    """
    Write a first pipeline into a folder, which is created if it is not there.

    It is three assets in pipeline.py, a test, and the lines of pyproject.toml that let flowstone
    find them. What is there already is left alone.
    """
    files = {folder / "pipeline.py": PIPELINE, folder / "test_pipeline.py": TEST}
    taken = [str(file) for file in files if file.exists()]
    if taken and not force:
        warn(f"error: {' and '.join(taken)}: there already; nothing was written. Try --force")
        return ExitCode.USAGE
    project = folder / "pyproject.toml"
    try:
        before = project.read_text(encoding="utf-8") if project.exists() else None
        after = _project(folder) if before is None else with_tables(before)
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text, encoding="utf-8")
        if after != before:
            project.write_text(after, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{error}") from error

    done = {str(file): "overwritten" if str(file) in taken else "written" for file in files}
    done[str(project)] = (
        "written" if before is None else "left as it is" if after == before else "tables added"
    )
    told = "\n".join(f"{file}: {what}" for file, what in done.items())
    print_document(settings, {"files": done}, told)
    note(settings, _next_steps(folder, after))
    return ExitCode.OK


def with_tables(text: str) -> str:
    """
    Return the text of a ``pyproject.toml`` with our tables at its end, as far as it has none.

    Raises:
        ValueError: It is no TOML.
    """
    tool = tomllib.loads(text).get("tool", {})
    missing = [] if "flowstone" in tool else [FLOWSTONE]
    if "flake8-bugbear" not in tool.get("ruff", {}).get("lint", {}):
        missing.append(BUGBEAR)
    extended = "\n".join([text.rstrip("\n") + "\n", *missing]) if missing else text
    try:
        tomllib.loads(extended)
    except tomllib.TOMLDecodeError:
        return text  # its tables are inline, which nothing can be added to
    return extended


def _project(folder: Path) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-").lower()
    return "\n".join([PROJECT.format(name=words or "pipeline"), FLOWSTONE, BUGBEAR])


def _next_steps(folder: Path, project: str) -> str:
    is_named = tomllib.loads(project)["tool"].get("flowstone", {}).get("app") == "pipeline:app"
    steps = [
        *([] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]),
        *([] if is_named else ["export FLOWSTONE_APP=pipeline:app"]),
        *("flowstone check", "flowstone run report", "pytest"),
    ]
    return "\n".join(["", "Next:", *(f"  {step}" for step in steps)])
