"""
The root of the commands, and the one place where errors become messages and exit codes.
"""

import errno
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from flowstone.cli.command import Group
from flowstone.cli.command_discovery import broken, plugin_commands
from flowstone.cli.command_table import COMMANDS, Entry
from flowstone.cli.exit_codes import ExitCode, Terminated, exit_code_of
from flowstone.cli.output import harmless
from flowstone.cli.settings import Settings
from flowstone.core.errors import FlowStoneError, reason_text

HELP = "Typed data assets that run durably on Postgres."
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
EPILOG = "Exit codes: 0 ok, 1 work failed, 2 usage or definition, 3 environment, 4 not ended yet."


class Root(Group):
    """``flowstone``, with the commands that installed packages bring; ours go before theirs."""

    def entries(self) -> Mapping[str, Entry]:
        """Return ours, then theirs."""
        ours = super().entries()
        theirs = plugin_commands()
        return {**ours, **{name: theirs[name] for name in theirs if name not in ours}}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now; one of a package may fail alone."""
        if cmd_name in super().entries():
            return super().get_command(ctx, cmd_name)
        entry = plugin_commands().get(cmd_name)
        if entry is None:
            return None
        try:
            return self.imported(cmd_name, entry)
        except FlowStoneError:
            raise
        except (Exception, SystemExit) as error:
            raise broken(cmd_name, entry, reason_text(error)) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; exits with its code."""
        settings = Settings()
        try:
            returned = super().main(
                args,
                "flowstone",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                obj=settings,
                **extra,
            )
            code = returned if isinstance(returned, int) else ExitCode.OK
        except FlowStoneError as error:
            code = exit_code_of(error)
            _tell(str(error), verbose=settings.verbose)
        except click.ClickException as error:
            code = error.exit_code
            _tell(error.format_message(), verbose=settings.verbose)
            if isinstance(error, click.UsageError) and error.ctx is not None:
                click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)
        except (KeyboardInterrupt, click.Abort):
            code = ExitCode.INTERRUPTED
        except Terminated:
            code = ExitCode.TERMINATED
        except OSError as error:
            if error.errno == errno.EPIPE:
                code = ExitCode.FAILED
            elif error.errno in NO_ROOM:
                code = ExitCode.ENVIRONMENT
                _tell(f"the output cannot be written: {error.strerror}", verbose=settings.verbose)
            else:
                raise
            _write_no_more()
        sys.exit(code)


def _tell(message: str, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    click.echo(f"error: {harmless(message)}", err=True)


def _write_no_more() -> None:
    """Let the interpreter end without a word of its own about what is still to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


root = Root("flowstone", COMMANDS, help=HELP, epilog=EPILOG)
