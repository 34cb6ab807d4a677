"""A PgBouncer in transaction mode with two servers to lend, before a test's database."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.ports import free_port

BINARY = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

CONFIG = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 200
server_reset_query =
server_login_retry = 1
"""


@contextmanager
def pooler(dsn: str, *, servers: int = 2) -> Iterator[str]:
    """
    Yield the DSN of the same database through a pooler, which ends with the block.

    Until then it is started again whenever it ends, as 1.18 does now and then when its server
    restarts.
    """
    assert BINARY is not None
    parts = conninfo_to_dict(dsn)
    known = {name: parts[name] for name in ("host", "port", "user", "password") if parts.get(name)}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pgbouncer.ini"
        server = make_conninfo("", **known)
        file.write_text(CONFIG.format(server=server, port=port, servers=servers))
        Path(folder).chmod(0o755)
        with _kept([BINARY, "--quiet", str(file)], _user(str(parts["host"]))):
            _wait_for(port)
            address = {"host": "127.0.0.1", "port": port}
            yield make_conninfo("", **address, user=parts["user"], dbname=parts["dbname"])


@contextmanager
def _kept(command: list[str], user: int | None) -> Iterator[None]:
    """Run a process for as long as the block runs, again and again if need be."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(0.1):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, user=user)
            while process.poll() is None:
                if ended.wait(0.1):
                    process.kill()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _user(host: str) -> int | None:
    """Say as whom to run: never as root, which it refuses, and so that it reaches the server."""
    if os.geteuid() != 0:
        return None
    return Path(host).stat().st_uid if host.startswith("/") else pwd.getpwnam("nobody").pw_uid


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the pooler does not listen"
            time.sleep(0.02)
