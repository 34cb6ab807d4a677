"""
Lines of revisions: FlowStone's own, and one for each plugin that brings tables.

A line is a folder of Alembic revisions that follow one another without branches, and a version
table that says how far a schema has come. The files are named after their revisions, and the names
sort in that order. So a worker that starts learns from the file names alone whether the database
fits, without loading Alembic.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import InvalidOptionError, SchemaVersionError
from flowstone.engine.statements import qualified, sql_root

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class SchemaState(StrEnum):
    """How a database's tables relate to this code."""

    ABSENT = "absent"
    PENDING = "pending"
    UP_TO_DATE = "up_to_date"
    NEWER = "newer"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """
    Where a database stands.

    Attributes:
        current: The revision that it has; None before the first.
        head: The revision that this code needs.
        state: What that means. Of revisions that this code does not know, NEWER are those that say
            that they serve it still, and AHEAD the others.
        plugin: Whose tables these are; empty is FlowStone itself.
    """

    current: str | None
    head: str
    state: SchemaState
    plugin: str = ""

    @property
    def fits(self) -> bool:
        """Whether this code can work with the tables."""
        return self.state in (SchemaState.UP_TO_DATE, SchemaState.NEWER)


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of revisions.

    Attributes:
        plugin: Whose it is; empty is FlowStone itself.
        revisions: The names of all of them, oldest first.
    """

    plugin: str
    folder: Path
    revisions: tuple[str, ...]

    @property
    def version_table(self) -> str:
        """The table that says how far the schema has come on this line."""
        return f"{self.plugin}_alembic_version" if self.plugin else "alembic_version"

    def version_query(self, schema: str) -> str:
        """Return what reads the revision, where the version table exists."""
        return f"SELECT version_num FROM {qualified(schema, self.version_table)}"

    def judge(self, current: str | None, serves_since: str | None = None) -> SchemaStatus:
        """
        Say what it means that the schema is at this revision.

        Args:
            serves_since: The last revision of the oldest code that this one says it serves.
        """
        head = self.revisions[-1]
        if current is None:
            state = SchemaState.ABSENT
        elif current == head:
            state = SchemaState.UP_TO_DATE
        elif current in self.revisions:
            state = SchemaState.PENDING
        else:
            serves = serves_since is not None and serves_since <= head
            state = SchemaState.NEWER if serves else SchemaState.AHEAD
        return SchemaStatus(current, head, state, self.plugin)

    def between(self, current: str | None, to: str) -> list[str]:
        """Return the revisions after ``current`` up to ``to``, oldest first."""
        first = self.revisions.index(current) + 1 if current else 0
        last = len(self.revisions) if to == "head" else self.revisions.index(to) + 1
        return list(self.revisions[first:last])


@lru_cache(maxsize=1)
def own_line() -> Line:
    """Return FlowStone's own."""
    return Line("", *_content(sql_root() / "migrations/versions"))


def lines_of(tables: Mapping[str, Tables]) -> list[Line]:
    """
    Return FlowStone's own line, and those of plugins by their names.

    Raises:
        InvalidOptionError: A plugin's tables are not named as such, or its folder has no revisions.
    """
    lines = [own_line()]
    for name, brought in sorted(tables.items()):
        if not NAME.fullmatch(name):
            wanted = "40 lower-case letters, digits and underscores at most, a letter first"
            raise InvalidOptionError(f"tables '{name}': the name has to be {wanted}")
        folder, revisions = _content(brought.revisions)
        if not revisions:
            raise InvalidOptionError(f"tables '{name}': there are no revisions in {folder}")
        lines.append(Line(name, folder, revisions))
    return lines


def _content(folder: Path) -> tuple[Path, tuple[str, ...]]:
    files = (it.stem for it in folder.glob("*.py") if not it.stem.startswith("_"))
    return folder, tuple(sorted(files))


def checked(found: SchemaStatus, schema: str) -> SchemaStatus:
    """
    Return a status of tables that this code can work with.

    Raises:
        SchemaVersionError: It is not; it names the command that helps.
    """
    if not found.fits:
        raise version_error(found, schema)
    return found


def version_error(found: SchemaStatus, schema: str) -> SchemaVersionError:
    """Return the error of tables that do not fit, with the command that helps."""
    whose = f"the tables of plugin '{found.plugin}'" if found.plugin else "FlowStone tables"
    code = f"plugin '{found.plugin}'" if found.plugin else "FlowStone"
    at = f"schema '{schema}' is at revision {found.current}"
    at += f" of plugin '{found.plugin}'" if found.plugin else ""
    match found.state:
        case SchemaState.ABSENT:
            has = "lacks" if found.plugin else "has no"
            use = ", with an --app that uses it" if found.plugin else ""
            problem = f"schema '{schema}' {has} {whose}; run: flowstone db migrate{use}"
        case SchemaState.AHEAD:
            ends = f"which no longer serves this {code} (it ends at {found.head})"
            problem = f"{at}, {ends}; upgrade {code}"
        case _:
            problem = f"{at}, and this {code} needs {found.head}; run: flowstone db migrate"
    return SchemaVersionError(problem, found=found.current, expected=found.head)


def is_behind(found: Iterable[SchemaStatus]) -> bool:
    """Whether migrating would change anything."""
    return any(it.state in (SchemaState.ABSENT, SchemaState.PENDING) for it in found)
