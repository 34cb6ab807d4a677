"""
Commands that installed packages bring: entry points of the group ``flowstone.commands``.

::

    [project.entry-points."flowstone.commands"]
    tally = "flowstone_tally.commands:tally"

Help lists each with its package's one-line description; the command is imported when it is used.
The entry points are read from the files that installers write: importing importlib.metadata takes
longer than all the rest of ``flowstone --help``.
"""

import os
import sys
from collections.abc import Iterator, Mapping

from flowstone.cli.command_table import Entry
from flowstone.core.errors import PluginError

GROUP = "flowstone.commands"


def plugin_commands() -> Mapping[str, Entry]:
    """
    Return the commands by name, sorted; nothing is imported.

    One that two packages bring has an entry that refuses to run and names both.
    """
    found: dict[str, Entry] = {}
    for name, target, folder in sorted(_points()):
        other = found.setdefault(name, Entry(_summary(folder), target))
        if other.target != target:
            found[name] = Entry(f"Ambiguous: {other.target} and {target}", AMBIGUOUS)
    return found


AMBIGUOUS = f"{__name__}:ambiguous"


def broken(name: str, entry: Entry, why: object) -> PluginError:
    """Return the error of a command that a package brings and that cannot be used."""
    if entry.target == AMBIGUOUS:
        packages = entry.help.removeprefix("Ambiguous: ")
        return PluginError(f"two packages bring a command '{name}': {packages}; uninstall one")
    return PluginError(f"command '{name}' cannot be imported ({entry.target}): {why}")


def _points() -> Iterator[tuple[str, str, str]]:
    """Yield name, ``module:attribute`` and the folder with the package's metadata."""
    for place in dict.fromkeys(sys.path):
        try:
            names = [it for it in os.listdir(place or ".") if it.endswith(".dist-info")]
        except OSError:
            continue  # an archive, or not there
        for name in names:
            folder = os.path.join(place, name)
            for line in _section(_read(folder, "entry_points.txt")):
                command, _, target = line.partition("=")
                yield command.strip(), target.partition("[")[0].strip(), folder


def _section(text: str) -> Iterator[str]:
    is_ours = False
    for line in text.splitlines() if GROUP in text else ():
        if line.strip().startswith("["):
            is_ours = line.strip() == f"[{GROUP}]"
        elif is_ours and "=" in line:
            yield line


def _summary(folder: str) -> str:
    for line in _read(folder, "METADATA").splitlines():
        if line.startswith("Summary:"):
            return line.removeprefix("Summary:").strip()
        if not line:
            break  # the description begins
    return f"From {os.path.basename(folder).partition('-')[0]}."


def _read(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
