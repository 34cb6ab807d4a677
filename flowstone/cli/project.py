"""The project that the command line is used in: the nearest ``pyproject.toml``, if there is one."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import click

from flowstone.core.suggestion import suggest

NAMES = ("app", "dsn", "schema")


@dataclass(frozen=True, slots=True)
class Project:
    """
    A folder, and what ``[tool.flowstone]`` in its ``pyproject.toml`` says.

    Attributes:
        root: The folder with the file; without one, the current folder.
        app: The application, as ``module:attribute``.
        dsn: The database.
        schema: The schema in it.
    """

    root: Path
    app: str | None = None
    dsn: str | None = None
    schema: str | None = None


def current_project() -> Project:
    """
    Return the project of the current folder.

    Raises:
        click.UsageError: The file cannot be read, or says something that means nothing.
    """
    return project_of(Path.cwd())


@lru_cache(maxsize=8)
def project_of(folder: Path) -> Project:
    """Return the project that a folder belongs to; looked up once in a process."""
    for candidate in (folder, *folder.parents):
        file = candidate / "pyproject.toml"
        if file.is_file():
            return Project(candidate, **_read(file))
    return Project(folder)


def _read(file: Path) -> dict[str, str]:
    import tomllib

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    tool = document.get("tool", {})
    table = tool.get("flowstone", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise click.UsageError(f"{file}: [tool.flowstone] is not a table")
    for name, value in table.items():
        if name not in NAMES:
            meant = suggest(name, NAMES) or ", ".join(NAMES)
            raise click.UsageError(f"{file}: [tool.flowstone] has no '{name}'; known: {meant}")
        if not isinstance(value, str) or not value:
            raise click.UsageError(f"{file}: [tool.flowstone] {name} must be a text")
    return table
