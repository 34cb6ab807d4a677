"""
The database that a command works on; where none is given, an embedded one of the project's own.

The embedded one is kept in the user's cache folder, by the path of the project. It is started by
the first command that needs it, shared by those that run meanwhile, and stopped by the last.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flowstone.cli.output import note
from flowstone.cli.project import current_project
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone

DEFAULT_SCHEMA = "flowstone"


@dataclass(frozen=True, slots=True)
class Database:
    """
    Where a command's tables are.

    Attributes:
        is_embedded: Whether it is one of ours, which is up to date then.
    """

    dsn: str
    schema: str
    is_embedded: bool = False


@contextmanager
def database(
    settings: Settings, app: FlowStone | None = None, *, migrated: bool = True
) -> Iterator[Database]:
    """
    Say which database is meant, and have it run if it is an embedded one.

    Args:
        app: The application, which may have one of its own.
        migrated: Bring the tables of an embedded one up to date.

    Raises:
        MissingExtraError: None is given, and the embedded one is not installed.
        DatabaseUnreachableError: The embedded one does not start.
    """
    dsn = settings.demanded_dsn() or (app.dsn if app else None) or settings.default_dsn()
    has_schema = app is not None and (app.dsn is not None or app.schema != DEFAULT_SCHEMA)
    schema = (
        settings.demanded_schema()
        or (app.schema if app and has_schema else settings.default_schema())
        or DEFAULT_SCHEMA
    )
    if dsn is not None:
        yield Database(dsn, schema)
        return

    from flowstone.engine.embedded import EmbeddedPostgres, default_path
    from flowstone.engine.revisions import is_behind
    from flowstone.engine.schema import migrate, statuses

    with EmbeddedPostgres(default_path(str(current_project().root))) as server:
        if not settings.embedded_is_told:
            settings.embedded_is_told = True
            note(
                settings,
                f"no DSN given: using embedded Postgres at {server.path}; "
                "set FLOWSTONE_DSN for your own",
            )
        tables = app.tables if app else {}
        if migrated and is_behind(statuses(server.dsn(), schema, tables=tables)):
            migrate(server.dsn(), schema, tables=tables)
        yield Database(server.dsn(), schema, is_embedded=True)
