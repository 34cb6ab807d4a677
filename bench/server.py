"""An embedded Postgres server for one benchmark run, with its defaults and fresh databases."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql

from flowstone.engine.embedded import EmbeddedPostgres

JsonScalar = str | int | float | bool


class Server:
    """
    A running server of our own, and the only place that knows how to reach it.

    Nothing is tuned: durability, memory and autovacuum are what `initdb` leaves.
    """

    def __init__(self, dsn_of: Callable[[str], str]) -> None:
        self._dsn_of = dsn_of
        self._numbers = count(1)

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """
        Create an empty database, yield its DSN, and drop it.

        A checkpoint comes first, so that nobody pays for the pages that the one before dirtied.
        """
        name = f"bench_{next(self._numbers)}"
        with psycopg.connect(self._dsn_of("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            connection.execute("CHECKPOINT")
        try:
            yield self._dsn_of(name)
        finally:
            with psycopg.connect(self._dsn_of("postgres"), autocommit=True) as connection:
                connection.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                )

    def commit_ms(self, commits: int = 50) -> float:
        """Median time of a one-row commit in milliseconds: the floor under a durable step, now."""
        with psycopg.connect(self._dsn_of("postgres"), autocommit=True) as connection:
            connection.execute("CREATE TABLE bench_commits (number integer)")
            times = []
            for number in range(commits):
                started = time.perf_counter()
                connection.execute("INSERT INTO bench_commits VALUES (%s)", (number,))
                times.append(time.perf_counter() - started)
            connection.execute("DROP TABLE bench_commits")
        return median(times) * 1000

    def facts(self) -> dict[str, JsonScalar]:
        """Say what was measured on: the server's durability settings, the machine, its load."""
        with psycopg.connect(self._dsn_of("postgres"), autocommit=True) as connection:
            return {
                "postgres": _setting(connection, "server_version"),
                "fsync": _setting(connection, "fsync"),
                "synchronous_commit": _setting(connection, "synchronous_commit"),
                "autovacuum": _setting(connection, "autovacuum"),
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.release()}",
                "machine": _processor(),
                "cpu_count": os.cpu_count() or 0,
                "load_average_1m": round(os.getloadavg()[0], 2),
            }


@contextmanager
def embedded_server() -> Iterator[Server]:
    """Start Postgres on a new data folder; stop it and delete the folder at the end."""
    with EmbeddedPostgres() as postgres:
        yield Server(postgres.dsn)


def require_durable(facts: dict[str, JsonScalar]) -> None:
    """
    Refuse to measure a server that may lose a commit.

    Raises:
        RuntimeError: `fsync` or `synchronous_commit` is not on.
    """
    unsafe = {name: facts[name] for name in ("fsync", "synchronous_commit") if facts[name] != "on"}
    if unsafe:
        message = f"the server is not durable: {json.dumps(unsafe)}; every figure would mislead"
        raise RuntimeError(message)


def _setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
