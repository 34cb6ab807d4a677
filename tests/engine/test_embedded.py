"""An embedded Postgres lasts as long as somebody uses it, whoever dies on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from flowstone.core.errors import (
    DatabaseUnreachableError,
    InvalidOptionError,
    MissingExtraError,
)
from flowstone.engine import embedded_cluster
from flowstone.engine.dsn import for_asyncpg, for_sqlalchemy
from flowstone.engine.embedded import EmbeddedPostgres, default_path
from flowstone.engine.embedded_cluster import bin_folder, private_folder

FAST = {"fsync": "off"}
USER = """\
import sys
from flowstone.engine.embedded import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1] or None, settings={"fsync": "off"}).start()
print(server.dsn(), flush=True)
sys.stdin.read()
server.stop()
"""


def execute(dsn: str, statement: str) -> tuple[object, ...] | None:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def answers(dsn: str) -> bool:
    try:
        return execute(dsn, "SELECT 1") == (1,)
    except psycopg.OperationalError:
        return False


@contextmanager
def another_process(path: Path | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that uses the server until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(path or "")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process, line_of(process.stdout).strip()
        process.kill()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's own user may enter, which pytest's are not for root."""
    root = default_path(f"test {os.getpid()} {time.monotonic_ns()}")
    yield root
    subprocess.run(["rm", "-rf", root], check=True)


class TestOneUser:
    async def test_every_driver_reaches_it(self) -> None:
        with EmbeddedPostgres(settings=FAST) as server:
            connection = await asyncpg.connect(**for_asyncpg(server.dsn()))
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()
            assert answers(server.dsn())
            engine = create_engine(for_sqlalchemy(server.dsn()), poolclass=NullPool)
            with engine.connect() as on_sqlalchemy:
                assert on_sqlalchemy.exec_driver_sql("SELECT 1").scalar() == 1

    def test_without_a_path_nothing_is_left(self) -> None:
        with EmbeddedPostgres(settings=FAST) as server:
            path, dsn = server.path, server.dsn()
            assert path is not None
            assert path.exists()

        assert not path.exists()
        assert not answers(dsn)
        assert server.path is None

    def test_with_a_path_the_data_stays(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, settings=FAST) as server:
            execute(server.dsn(), "CREATE TABLE kept (one int)")
        assert not answers(server_dsn(folder))

        with EmbeddedPostgres(folder, settings=FAST) as server:
            assert execute(server.dsn(), "SELECT count(*) FROM kept") == (0,)

    def test_starting_and_stopping_twice_changes_nothing(self) -> None:
        server = EmbeddedPostgres(settings=FAST)
        server.stop()
        assert server.start() is server.start()
        assert answers(server.dsn())
        server.stop()
        server.stop()

        with pytest.raises(DatabaseUnreachableError, match="not started"):
            server.dsn()

    def test_settings_hold_whatever_they_contain(self, folder: Path) -> None:
        settings = {**FAST, "cluster_name": 'it\'s; "x" # y', "max_connections": "7"}
        with EmbeddedPostgres(folder, settings=settings) as server:
            row = execute(
                server.dsn(),
                "SELECT current_setting('cluster_name'), current_setting('max_connections')",
            )

        assert row == ('it\'s; "x" # y', "7")

    def test_it_listens_on_no_network_and_for_nobody_else(self) -> None:
        with EmbeddedPostgres(settings=FAST) as server:
            row = execute(server.dsn(), "SHOW listen_addresses")
            assert server.path is not None
            data = server.path / "data"
            socket = data / ".s.PGSQL.5432"

            assert row == ("",)
            assert data.stat().st_mode & 0o077 == 0
            assert socket.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("name", ["with 'quotes' and \"more\"", "x" * 90, "ümläut $HOME"])
    def test_any_path_will_do(self, folder: Path, name: str) -> None:
        with EmbeddedPostgres(folder / name, settings=FAST) as server:
            assert answers(server.dsn())


def server_dsn(folder: Path) -> str:
    return f"postgresql://postgres@/postgres?host={folder / 'data'}"


class TestSeveralUsers:
    def test_the_first_to_leave_does_not_stop_it(self, folder: Path) -> None:
        first = EmbeddedPostgres(folder, settings=FAST).start()
        second = EmbeddedPostgres(folder, settings=FAST).start()
        first.stop()
        assert answers(second.dsn())

        second.stop()
        assert not answers(server_dsn(folder))

    def test_nor_does_the_process_that_started_it(self, folder: Path) -> None:
        with another_process(folder) as (process, dsn):
            ours = EmbeddedPostgres(folder, settings=FAST).start()
            assert ours.dsn() == dsn
            process.communicate()
            assert process.returncode == 0
            assert answers(dsn)
            ours.stop()

        assert not answers(dsn)

    def test_a_killed_process_stops_nobodys_server(self, folder: Path) -> None:
        with another_process(folder) as (process, dsn):
            ours = EmbeddedPostgres(folder, settings=FAST).start()
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert answers(dsn)
            ours.stop()  # and is not waited for

        assert not answers(dsn)

    def test_many_who_start_at_once_share_one(self, folder: Path) -> None:
        with (
            another_process(folder) as (first, one),
            another_process(folder) as (second, two),
            another_process(folder) as (third, three),
        ):
            assert one == two == three
            assert answers(one)
            for process in (first, second, third):
                process.communicate()
                assert process.returncode == 0

        assert not answers(one)

    def test_a_fork_does_not_stop_its_parents(self) -> None:
        with EmbeddedPostgres(settings=FAST) as server:
            child = os.fork()
            if child == 0:
                server.stop()
                os._exit(0)
            os.waitpid(child, 0)

            assert answers(server.dsn())


class TestRestarting:
    def test_the_data_survives_and_the_address_stays(self, folder: Path) -> None:
        with EmbeddedPostgres(folder) as server:
            dsn = server.dsn()
            execute(dsn, "CREATE TABLE kept (one int)")
            server.restart()

            assert server.dsn() == dsn
            assert execute(dsn, "SELECT count(*) FROM kept") == (0,)

    def test_what_is_not_started_cannot_restart(self) -> None:
        with pytest.raises(DatabaseUnreachableError, match="not started"):
            EmbeddedPostgres().restart()


class TestLeftovers:
    def test_a_folder_that_was_deleted_is_left_without_complaint(self, folder: Path) -> None:
        server = EmbeddedPostgres(folder, settings=FAST).start()
        server.restart()
        subprocess.run(["rm", "-rf", folder], check=True)

        server.stop()

    def test_what_a_killed_process_left_is_removed_by_the_next(self) -> None:
        with another_process(None) as (process, dsn):
            process.send_signal(signal.SIGKILL)
            process.wait()
        left = Path(psycopg.conninfo.conninfo_to_dict(dsn)["host"])
        assert answers(dsn)

        EmbeddedPostgres(settings=FAST).start().stop()

        assert not answers(dsn)
        assert not left.exists()

    def test_a_server_that_crashed_is_started_again(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, settings=FAST) as server:
            postmaster = int((folder / "data/postmaster.pid").read_text().splitlines()[0])
            os.kill(postmaster, signal.SIGKILL)
            with EmbeddedPostgres(folder, settings=FAST):
                assert answers(server.dsn())

    def test_an_initdb_that_was_killed_is_done_again(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        (folder / "data/half").write_text("")

        with EmbeddedPostgres(folder, settings=FAST) as server:
            assert answers(server.dsn())


class TestRefusal:
    def test_a_setting_that_does_not_exist_brings_the_servers_log(self, folder: Path) -> None:
        server = EmbeddedPostgres(folder, settings={"no_such_setting": "1"})

        with pytest.raises(DatabaseUnreachableError, match="no_such_setting"):
            server.start()
        with EmbeddedPostgres(folder, settings=FAST):
            pass

    def test_without_the_extra_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded_cluster, "find_spec", lambda _: None)

        with pytest.raises(MissingExtraError, match=r"flowstone\[embedded\]"):
            bin_folder()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root's server runs as somebody else")
    def test_a_folder_that_the_servers_user_cannot_enter_is_refused(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)

        with pytest.raises(InvalidOptionError, match="cannot enter"):
            EmbeddedPostgres(closed / "server").start()
        assert closed.stat().st_mode & 0o777 == 0o700

    def test_a_folder_of_somebody_elses_is_refused(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.mkdir()
        (tmp_path / "link").symlink_to(target)

        with pytest.raises(InvalidOptionError, match="somebody else"):
            private_folder(tmp_path / "link")
