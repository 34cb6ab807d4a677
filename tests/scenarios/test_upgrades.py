"""A new release beside the old one: the tables first, then the workers, one after another."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import asyncpg
import psycopg
import pytest

from flowstone import FlowStone
from flowstone.core.errors import SchemaVersionError
from flowstone.engine.schema import check, migrate, pending_sql, status
from tests.scenarios.conftest import PIPELINES
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import held, plain
from tests.scenarios.spawned import ROOT, Spawner

REVISION = """
from flowstone.engine.schema import apply, still_serves

revision = "0002_next"
down_revision = "0001_initial"


def upgrade() -> None:
    apply("next.sql")
"""
SAYS_SO = '    still_serves("0001_initial", revision=revision)\n'
TABLES = """
CREATE TABLE flowstone_notes (id bigint PRIMARY KEY);
ALTER TABLE flowstone_runs ADD COLUMN note text;
ALTER TABLE flowstone_materializations ADD COLUMN note text NOT NULL DEFAULT 'none';
ALTER TABLE flowstone_workers ADD COLUMN note text;
"""


class NextRelease:
    """This code with one revision more; its workers call a turn that only that revision has."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "next"
        without = shutil.ignore_patterns("__pycache__")
        for name in ("flowstone", "sql"):
            shutil.copytree(ROOT / name, self.code / name, ignore=without)
        (self.code / "tests").symlink_to(ROOT / "tests")
        store = self.code / "flowstone/engine/store.py"
        source = store.read_text()
        assert source.count('"flowstone_turn_v1"') == 1
        store.write_text(source.replace('"flowstone_turn_v1"', '"flowstone_turn_v2"'))
        turn = (ROOT / "sql/core/functions/60_turn.sql").read_text()
        turn = turn.replace("flowstone_turn_v1", "flowstone_turn_v2")
        (self.code / "sql/next.sql").write_text(TABLES + turn)

    def migrate(self, dsn: str, *, serves_old_code: bool, by_hand: bool = False) -> None:
        says_so = SAYS_SO if serves_old_code else ""
        revision = self.code / "sql/migrations/versions/0002_next.py"
        revision.write_text(REVISION + says_so)
        if by_hand:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(self._told(dsn, "--sql").encode())
        else:
            assert "applied 0002_next" in self._told(dsn)

    def _told(self, dsn: str, *options: str) -> str:
        command = [sys.executable, "-m", "flowstone", "--dsn", dsn, "db", "migrate", *options]
        return subprocess.run(
            command, cwd=self.code, check=True, stdout=subprocess.PIPE, text=True
        ).stdout


@pytest.fixture
def next_release(tmp_path: Path) -> NextRelease:
    return NextRelease(tmp_path)


async def test_workers_of_both_releases_share_the_work_once_the_tables_are_new(
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
    next_release: NextRelease,
) -> None:
    running = spawn.worker(dsn, "gated", slots=2)
    first = await app.enqueue_many([held], over=["a", "b"])
    await eventually(lambda: ledger.has_starts(2))

    next_release.migrate(dsn, serves_old_code=True)
    restarted = spawn.worker(dsn, "gated", slots=2)
    new = spawn.worker(dsn, "gated", slots=2, code=next_release.code)
    second = await app.enqueue_many([held], over=["c", "d", "e", "f"])
    await eventually(lambda: ledger.has_starts(6))
    ledger.open_gate("held-1")
    await until_ended(pg, first.run_id, second.run_id)

    await assert_completed_once(pg, ledger, first.run_id, second.run_id)
    assert Counter(start.pid for start in ledger.starts()) == dict.fromkeys(
        (running.pid, restarted.pid, new.pid), 2
    )


@pytest.mark.parametrize("by_hand", [False, True])
async def test_tables_that_serve_old_code_need_nothing_of_it(
    dsn: str, next_release: NextRelease, by_hand: bool
) -> None:
    next_release.migrate(dsn, serves_old_code=True, by_hand=by_hand)

    assert status(dsn).state == "newer"
    assert check(dsn).current == "0002_next"
    assert (migrate(dsn), pending_sql(dsn)) == ([], "")
    async with FlowStone(PIPELINES, dsn=dsn) as app:
        (tables,) = [it for it in (await app.health()).findings if it.check == "tables"]
    assert tables.level == "warn"
    assert "0002_next, which still serves this FlowStone" in tables.message


async def test_tables_that_say_nothing_stop_no_worker_and_let_none_start(
    app: FlowStone,
    dsn: str,
    pg: asyncpg.Connection,
    spawn: Spawner,
    ledger: Ledger,
    next_release: NextRelease,
) -> None:
    spawn.worker(dsn, "gated")
    handle = await app.enqueue(held)
    await eventually(lambda: ledger.has_starts(1))

    next_release.migrate(dsn, serves_old_code=False)

    with pytest.raises(SchemaVersionError, match=r"0002_next, which no longer .*upgrade FlowStone"):
        await FlowStone(PIPELINES, dsn=dsn).open()
    for function in (check, migrate, pending_sql):
        with pytest.raises(SchemaVersionError, match="upgrade FlowStone"):
            function(dsn)
    ledger.open_gate("held-1")
    await until_ended(pg, handle.run_id)
    await assert_completed_once(pg, ledger, handle.run_id)


async def test_what_was_said_of_an_earlier_revision_does_not_count(
    dsn: str, pg: asyncpg.Connection, next_release: NextRelease
) -> None:
    next_release.migrate(dsn, serves_old_code=True)
    await pg.execute("UPDATE flowstone.alembic_version SET version_num = '0003_silent'")

    with pytest.raises(SchemaVersionError, match="0003_silent, which no longer serves"):
        check(dsn)


async def test_an_asset_that_only_new_code_knows_waits_for_it_and_is_charged_nothing(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    async def has_started() -> bool:
        await pg.execute(
            "UPDATE flowstone.procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'"
        )  # The delay is over, and over again if it was the old one who came first.
        return bool(ledger.starts(plain.full_name))

    old = spawn.worker(dsn, "batch", poll_interval=0.05)
    handle = await app.enqueue(plain)
    # It does not come back before its delay is over, however often the worker looks.
    await eventually(
        lambda: pg.fetchval(
            "SELECT scheduled_at > now() + interval '15 s' FROM flowstone.procrastinate_jobs"
        )
    )
    for partition in ("a", "b", "c"):
        other = await app.enqueue("batch.item", partition=partition)
        await until_ended(pg, other.run_id)
    assert old.output().count("is unknown to this worker") == 1

    new = spawn.worker(dsn, "gated", poll_interval=0.05)
    await eventually(has_started)
    await until_ended(pg, handle.run_id)

    (start,) = ledger.starts(plain.full_name)
    assert (start.pid, start.attempt) == (new.pid, 1)
    await assert_completed_once(pg, ledger, handle.run_id)
