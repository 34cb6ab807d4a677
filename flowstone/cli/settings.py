"""
The options that every command takes, with what the environment and pyproject.toml say beside them.

Which database, the first that is said:

1. ``--dsn``
2. ``FLOWSTONE_DSN``
3. the application's own: ``FlowStone(…, dsn=…)``
4. ``DATABASE_URL``
5. ``[tool.flowstone] dsn``
6. an embedded Postgres, kept for the project from one command to the next
"""

import os
from dataclasses import dataclass
from enum import StrEnum

from flowstone.cli.project import current_project


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(slots=True)
class Settings:
    """
    What was said on the command line; None where nothing was.

    Attributes:
        quiet: Errors only on stderr.
        verbose: More on stderr: log messages, and tracebacks of errors.
        embedded_is_told: Whether it was said already that an embedded Postgres is used.
    """

    app: str | None = None
    dsn: str | None = None
    schema: str | None = None
    output: Output = Output.TABLE
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    embedded_is_told: bool = False

    def chosen_app(self) -> str | None:
        """Return the application as ``module:attribute``, if one is named anywhere."""
        return self.app or os.environ.get("FLOWSTONE_APP") or current_project().app

    def demanded_dsn(self) -> str | None:
        """Return the DSN that goes before the application's own."""
        return self.dsn or os.environ.get("FLOWSTONE_DSN") or None

    def default_dsn(self) -> str | None:
        """Return the DSN for an application that has none."""
        return os.environ.get("DATABASE_URL") or current_project().dsn

    def demanded_schema(self) -> str | None:
        """Return the schema that goes before the application's own."""
        return self.schema or os.environ.get("FLOWSTONE_SCHEMA") or None

    def default_schema(self) -> str | None:
        """Return the schema for an application that has none."""
        return current_project().schema

    def is_colored(self) -> bool | None:
        """Return False when colors are not wanted; None leaves it to the terminal."""
        return False if self.no_color or os.environ.get("NO_COLOR") else None
