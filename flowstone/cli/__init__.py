"""
The command line: ``flowstone`` and ``python -m flowstone``.

How it is laid out, in reading order:

* ``command_table``   every command, by name: where it is, and one line of help; nothing is imported
* ``command``         what the commands are made of, and the options that each of them takes
* ``settings``        those options, with what the environment and pyproject.toml say beside them
* ``exit_codes``      what a command ends with, and which error means what
* ``application``     the user's application, found and opened on the right database
* ``database``        which one that is; an embedded one if none is given
* ``running``         coroutines, and what ends them
* ``output``          data to stdout as table, JSON or JSON lines; the rest to stderr

A command is a module ``…_command`` or one of a group ``…_commands``. It returns an `ExitCode`, or
None for success, and raises FlowStone's errors as they are.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

STDIN, STDOUT, STDERR = range(3)
PATIENCE_SECONDS = 0.5
"""How long threads have that are about to end by themselves."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; without arguments, those of this process."""
    _open_what_is_closed()
    from flowstone.cli.root import root

    try:
        root.main(None if arguments is None else list(arguments))
    finally:
        _leave_threads_behind()
    raise AssertionError("a command ends by exiting")


def _open_what_is_closed() -> None:
    """
    Put the null device where stdin, stdout or stderr is closed (``<&-``, some supervisors).

    A connection would get such a number otherwise: uvloop aborts at its end, and what a child
    process prints goes to the database.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(STDIN, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(STDOUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(STDERR, "w", closefd=False)


def _leave_threads_behind() -> None:
    """
    Exit now if threads are left that run functions which were given up.

    A plain function that has timed out or was cancelled cannot be stopped, and the interpreter
    would wait for it.
    """
    ended = sys.exception()
    deadline = time.monotonic() + PATIENCE_SECONDS
    threads = [it for it in threading.enumerate() if it.name.startswith("flowstone_")]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if isinstance(ended, SystemExit) and any(it.is_alive() for it in threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)
