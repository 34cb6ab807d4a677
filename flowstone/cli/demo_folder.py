"""
Where the demo keeps what it makes from one time to the next: a folder in the user's cache.

It is a project like any other: its ``pyproject.toml`` names the demo's pipeline, and a command
without a DSN uses the embedded Postgres that belongs to the folder. So whoever goes there can look
further with the ordinary commands.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from flowstone.cli.database import DEFAULT_SCHEMA, Database
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import note
from flowstone.cli.settings import Settings
from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import DatabaseError
from flowstone.engine.embedded import EmbeddedPostgres, default_path
from flowstone.engine.embedded_cluster import Cluster, cache_folder, private_folder
from flowstone.engine.revisions import SchemaState
from flowstone.engine.schema import migrate, statuses
from flowstone.engine.statements import digest

APP = "flowstone.cli.demo.pipeline:environment"
GUEST_SCHEMA = "flowstone_demo"
"""Where the tables go in somebody's own database: apart from those of real work."""

_PROJECT = f"""\
# Written by `flowstone demo`: commands in this folder look at what it has computed.

[tool.flowstone]
app = "{APP}"
"""


class InUseError(click.ClickException):
    """The demo's Postgres is used by another process."""

    exit_code = ExitCode.ENVIRONMENT


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """The folder; what lies in it is replaced by every demo."""

    path: Path

    @classmethod
    def open(cls) -> Self:
        """
        Return the folder, created if it is not there: FLOWSTONE_DEMO_FOLDER, or one in the cache.

        Raises:
            InvalidOptionError: It belongs to somebody else.
        """
        given = os.environ.get("FLOWSTONE_DEMO_FOLDER")
        folder = cls(private_folder(Path(given) if given else cache_folder() / "demo").resolve())
        (folder.path / "pyproject.toml").write_text(_PROJECT, encoding="utf-8")
        return folder

    @property
    def report(self) -> Path:
        """The page that the last demo wrote."""
        return self.path / "report.html"

    @property
    def worker_log(self) -> Path:
        """What the last demo's worker said."""
        return self.path / "worker.log"

    @property
    def server(self) -> Path:
        """Where the embedded Postgres of commands in this folder keeps its data."""
        return default_path(str(self.path))

    @contextmanager
    def database(self, settings: Settings, tables: Mapping[str, Tables]) -> Iterator[Database]:
        """
        Have the database run, with its tables: the one of ``--dsn``, or the folder's own.

        The environment's DSN does not count: nobody expects a demo in the database of their work.

        Args:
            tables: Of the plugins that the demo uses.
        """
        if settings.dsn is not None:
            schema = settings.schema or GUEST_SCHEMA
            _bring_up_to_date(settings.dsn, schema, tables)
            note(settings, f"Postgres: the one you gave, in its schema {schema}")
            yield Database(settings.dsn, schema)
            return
        if self._has_other_tables():
            note(settings, "Postgres: the last demo's is of another build, and is deleted")
            self.forget()
        self._tables.write_text(digest(), encoding="utf-8")
        note(settings, f"Postgres: {self._said_of_server()} at {self.server}")
        schema = settings.schema or DEFAULT_SCHEMA
        server = EmbeddedPostgres(self.server)
        try:
            try:
                server.start()
                _bring_up_to_date(server.dsn(), schema, tables)
            except DatabaseError as error:
                advice = "flowstone demo --fresh starts over with a new one"
                raise type(error)(f"{error}\n{advice}") from error
            yield Database(server.dsn(), schema, is_embedded=True)
        finally:
            server.stop()
            self._stop_what_is_left()

    def forget(self) -> None:
        """
        Delete the embedded server, with all that the demo has ever stored in it.

        Raises:
            InUseError: Another process uses it.
        """
        self.report.unlink(missing_ok=True)
        if not self.server.exists():
            return
        cluster = Cluster(self.server)
        with cluster.control():
            if not cluster.leave(cluster.enter()):
                raise InUseError(
                    f"the demo's Postgres is in use, so it cannot be deleted ({self.server}); "
                    "end the other demo, psql or command that uses it"
                )
            cluster.stop(immediately=True)
            shutil.rmtree(cluster.folder)

    @property
    def _tables(self) -> Path:
        return self.path / "tables.sha256"

    def _has_other_tables(self) -> bool:
        """Say whether the server's tables were made by other SQL than this build's."""
        made = self._tables.read_text(encoding="utf-8") if self._tables.exists() else None
        return self.server.exists() and made != digest()

    def _said_of_server(self) -> str:
        if not (self.server / "data" / "PG_VERSION").exists():
            return "creating an embedded server, kept for the next demo,"
        cluster = Cluster(self.server)
        with cluster.control():
            is_free = cluster.leave(cluster.enter())
        if is_free:
            return "starting the embedded server of the last demo"
        return "joining the embedded server that another process uses"

    def _stop_what_is_left(self) -> None:
        """
        Stop the server if nobody uses it.

        Ctrl-C in a terminal also reaches ``pg_ctl``, which may have started it by then without
        living to say so.
        """
        if self.server.exists():
            cluster = Cluster(self.server)
            with cluster.control():
                if cluster.leave(cluster.enter()):
                    cluster.stop(immediately=False)


def _bring_up_to_date(dsn: str, schema: str, tables: Mapping[str, Tables]) -> None:
    found = statuses(dsn, schema, tables=tables)
    if any(it.state is not SchemaState.UP_TO_DATE for it in found):
        migrate(dsn, schema, tables=tables)
