"""A standby of an embedded server, which may become the new primary."""

from pathlib import Path
from urllib.parse import quote

from flowstone.engine.embedded_cluster import SUPERUSER, Cluster


class Standby(Cluster):
    """
    A copy of a running server, which follows it until it is promoted.

    Args:
        folder: Empty, and open to the server's user.
        settings: Of its own.
    """

    def __init__(self, folder: Path, primary: Cluster, settings: dict[str, str]) -> None:
        super().__init__(folder)
        self._primary = primary
        self._settings = settings

    def follow(self) -> None:
        """Copy the primary, start, and stream what it writes from now on."""
        self.prepare()
        self._empty()
        self._do(
            *("pg_basebackup", "--pgdata", str(self.data), "--host"),
            *(str(self._primary.socket_folder), "--username", SUPERUSER),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )
        for socket in self.data.glob(".s.PGSQL*"):  # the primary's, which lies in its data
            socket.unlink()
        self.ensure_running(self._settings)

    def promote(self) -> None:
        """Become a primary; returns when it takes writes."""
        self._do("pg_ctl", "-w", "promote")

    def _do(self, program: str, *arguments: str) -> None:
        done, said = self._run(program, *arguments)
        assert done, said


def dsn_of(*servers: Cluster) -> str:
    """Return the DSN of whichever of these servers takes writes."""
    hosts = ",".join(quote(str(it.socket_folder), safe="/") for it in servers)
    return f"postgresql://{SUPERUSER}@/postgres?host={hosts}&target_session_attrs=read-write"
