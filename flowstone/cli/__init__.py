"""
The command line: ``flowstone`` and ``python -m flowstone``.

How it is laid out, in reading order:

* ``command_table``   every command, by name: where it is, and one line of help; nothing is imported
* ``command``         what the commands are made of, and the options that each of them takes
* ``settings``        those options, with what the environment and pyproject.toml say beside them
* ``exit_codes``      what a command ends with, and which error means what
* ``application``     the user's application, found and opened on the right database
* ``output``          data to stdout as table, JSON or JSON lines; the rest to stderr

A command is a module ``…_command`` or one of a group ``…_commands``. It returns an `ExitCode`, or
None for success, and raises FlowStone's errors as they are.
"""

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; without arguments, those of this process."""
    from flowstone.cli.root import root

    root.main(None if arguments is None else list(arguments))
    raise SystemExit(0)
