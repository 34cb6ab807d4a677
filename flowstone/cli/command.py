"""
What the commands are made of.

::

    @click.command(cls=Command)
    @click.argument("target")
    @pass_settings
    def show_command(settings: Settings, target: str) -> ExitCode | None: ...

Each takes the global options, before or after its name; what is said last counts.
"""

import importlib
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import click

from flowstone.cli.command_table import Entry
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.settings import Output, Settings
from flowstone.core.suggestion import suggest

pass_settings = click.make_pass_decorator(Settings)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A command that takes the global options."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.context_settings = {**CONTEXT, **self.context_settings}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        return [*own, *global_options(_flags(own))]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = super().get_params(ctx)
        _write(ctx, formatter, "Options", own)
        _write(ctx, formatter, "Global options", global_options(_flags(own)))

    def invoke(self, ctx: click.Context) -> object:
        settings = ctx.find_object(Settings) or Settings()
        ctx.color = settings.is_colored()
        _start_logging(settings)
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands that are imported when they are used; its help imports none."""

    def __init__(
        self, name: str, entries: Mapping[str, Entry], *, help: str, epilog: str | None = None
    ) -> None:
        super().__init__(
            name,
            help=help,
            epilog=epilog,
            context_settings=CONTEXT,
            callback=_help_if_alone,
            invoke_without_command=True,
            no_args_is_help=False,
        )
        self._entries = entries

    def entries(self) -> Mapping[str, Entry]:
        """Return its commands by name."""
        return self._entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = suggest(args[0], self.entries())
            if meant is None or "Did you mean" in error.message:
                raise
            told = f"{error.message} Did you mean '{meant}'?"
            raise click.UsageError(told, error.ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries().get(cmd_name)
        return None if entry is None else self.imported(cmd_name, entry)

    @staticmethod
    def imported(name: str, entry: Entry) -> click.Command:
        """Return the command of an entry; raises what importing it raises."""
        if not entry.target:
            return Group(name, entry.commands, help=entry.help)
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"it is not a click.Command but a {type(command).__qualname__}")
        command.name = name
        return command

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        return [*own, *global_options(_flags(own))]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, entry.help) for name, entry in self.entries().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        _write(ctx, formatter, "Global options", self.get_params(ctx))


def global_options(taken: Collection[str] = ()) -> list[click.Option]:
    """
    Return the options of every command.

    Args:
        taken: Flags that the command uses for something else, such as ``-q`` of the worker.
    """

    def option(*flags: str, **given: object) -> click.Option:
        free = [flag for flag in flags if flag not in taken]
        return click.Option(free, expose_value=False, callback=_remember, **given)  # type: ignore[arg-type]  # click's own keywords

    return [
        option(
            "--app",
            metavar="MODULE:ATTR",
            help="The application, a pipeline, or a list of pipelines. "
            "[FLOWSTONE_APP, or app under [tool.flowstone] in pyproject.toml]",
        ),
        option(
            "--dsn",
            metavar="URL",
            help="The database; goes before the application's own. [FLOWSTONE_DSN; DATABASE_URL "
            "and [tool.flowstone] serve an application without one; else embedded]",
        ),
        option("--schema", metavar="NAME", help="The schema in it. [FLOWSTONE_SCHEMA]"),
        option(
            "-o",
            "--output",
            type=click.Choice([it.value for it in Output]),
            help="How data is printed; table if not said.",
        ),
        option("-q", "--quiet", is_flag=True, help="Nothing but errors on stderr."),
        option("-v", "--verbose", is_flag=True, help="Log messages and tracebacks on stderr."),
        option("--no-color", is_flag=True, help="No colors. [NO_COLOR]"),
    ]


@click.pass_context
def _help_if_alone(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(ExitCode.USAGE)


def _remember(ctx: click.Context, option: click.Parameter, value: object) -> None:
    settings = ctx.ensure_object(Settings)
    if value and option.name == "output":
        settings.output = Output(str(value))
    elif value and option.name:
        setattr(settings, option.name, value)


def _flags(params: Iterable[click.Parameter]) -> set[str]:
    return {flag for param in params for flag in (*param.opts, *param.secondary_opts)}


def _write(
    ctx: click.Context,
    formatter: click.HelpFormatter,
    title: str,
    params: Iterable[click.Parameter],
) -> None:
    rows = [row for param in params if (row := param.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def _start_logging(settings: Settings) -> None:
    level = logging.ERROR if settings.quiet else logging.WARNING
    if settings.verbose:
        level = logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
