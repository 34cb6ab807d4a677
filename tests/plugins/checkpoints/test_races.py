"""Several decide at the same moment, and workers die in between: one decision, one continuation."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.plugins.checkpoints import approve, list_approvals
from tests.scenarios.deaths import give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import FOLDER, Ledger
from tests.scenarios.pipelines.approving import approving, booked, urgently_booked
from tests.scenarios.processes.decider import LEFT_TO
from tests.scenarios.spawned import Spawner, spawning

ROUNDS = 60
DECIDERS = {"ann": "approve", "bob": "modify", "cem": "reject", "dan": "cancel"}
STEPS = ("before-request", "after-request", "before-resume", "after-resume")

ENDS = """
SELECT a.materialization_id AS id, a.asset, a.partition, a.status, a.decided_by, m.status AS ended,
    v.value #>> '{}' AS value, later.status AS later
FROM flowstone.approvals a
JOIN flowstone.materializations m USING (materialization_id)
JOIN flowstone.materializations later
    ON later.run_id = a.run_id AND later.asset LIKE '%booked' AND later.partition = a.partition
LEFT JOIN flowstone.flowstone_values v ON v.materialization_id = a.materialization_id
"""
LEFT_OVER = """
SELECT
    (SELECT count(*) FROM flowstone.procrastinate_jobs WHERE status IN ('todo', 'doing')),
    (SELECT count(*) FROM flowstone.flowstone_waits),
    (SELECT count(*) FROM flowstone.approvals WHERE decided_at IS NULL)
"""
HAVE_ENDED = "SELECT bool_and(status <> 'running') FROM flowstone.runs"
ENDED_AS = {
    "approved": ("succeeded", "succeeded"),
    "modified": ("succeeded", "succeeded"),
    "rejected": ("failed", "upstream_failed"),
    "expired": ("failed", "upstream_failed"),
    "cancelled": ("cancelled", "cancelled"),
}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return Ledger(tmp_path)


@pytest.fixture
def spawn(ledger: Ledger) -> Iterator[Spawner]:
    with spawning(ledger.folder) as spawner:
        yield spawner


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone(approving, dsn=dsn) as app:
        yield app


async def decided_by_each(spawn: Spawner, ledger: Ledger, dsn: str) -> dict[str, list[int]]:
    """Let four processes decide about all that waits; return what each of them has decided."""
    deciders = {
        by: spawn.start("decider", {"dsn": dsn, "by": by, "does": does, "seed": seed})
        for seed, (by, does) in enumerate(DECIDERS.items())
    }
    for by in deciders:
        await eventually(partial(ledger.is_open, f"ready-{by}"))
    ledger.open_gate("decide")
    for decider in deciders.values():
        assert await decider.exit_code() == 0
    return {by: json.loads(it.output().splitlines()[-1]) for by, it in deciders.items()}


@pytest.mark.timeout(300)
async def test_of_four_who_decide_at_once_one_has_decided(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    worker = spawn.worker(dsn, "approving", slots=20)
    for number in range(ROUNDS):
        await app.enqueue(urgently_booked if number % 2 else booked, partition=f"{number}")
    waits = "SELECT count(*) + (SELECT count(*) FROM flowstone.approvals WHERE status = 'expired')"
    counted = f"{waits} = {ROUNDS} FROM flowstone.waiting"
    await eventually(lambda: pg.fetchval(counted))

    won = await decided_by_each(spawn, ledger, dsn)
    await eventually(lambda: pg.fetchval(HAVE_ENDED))
    ends = await pg.fetch(ENDS)

    assert len(ends) == ROUNDS
    decided = Counter(row["decided_by"] for row in ends if row["decided_by"])
    assert decided == {by: len(ids) for by, ids in won.items() if ids}, "who says so has decided"
    for row in ends:
        # Every third run is cancelled, which may be after the decision and before it goes on.
        also = {"cancelled"} if int(row["partition"]) % 3 == 0 else set()
        ended, later = ENDED_AS[row["status"]]
        assert row["ended"] in {ended} | also
        assert row["later"] in {later} | also
        assert row["decided_by"] is None or row["id"] in won[row["decided_by"]]
        if row["ended"] == "succeeded":
            word = {"approved": "held", "modified": "modified"}[row["status"]]
            assert row["value"] == f"{word} {row['partition']}"
    alone = {does: row["status"] for row in ends if (does := LEFT_TO.get(int(row["partition"])))}
    assert alone == {
        "approve": "approved", "modify": "modified", "reject": "rejected", "cancel": "cancelled"
    }  # fmt: skip
    later = Counter(start.materialization for start in ledger.starts() if "booked" in start.asset)
    assert set(later.values()) <= {1}, "it went on twice"
    assert tuple(await pg.fetchrow(LEFT_OVER)) == (0, 0, 0)
    worker.ask_to_stop()
    assert await worker.exit_code() == 0


@pytest.mark.timeout(300)
async def test_killed_at_any_step_nobody_is_asked_twice_and_nothing_goes_on_twice(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    handles = [await app.enqueue(booked, partition=step) for step in STEPS]
    approved: set[int] = set()

    async def all_ended() -> bool:
        for it in await list_approvals(app):
            if it.id not in approved:
                await approve(app, it.id, by="ann")
                approved.add(it.id)
        return bool(await pg.fetchval(HAVE_ENDED))

    async def died_or_ended() -> bool:
        return worker.has_ended or await all_ended()

    worker = spawn.start("dying", {"dsn": dsn})
    for _ in STEPS:
        await eventually(died_or_ended)
        await worker.killed_itself()
        await give_up(pg, worker)
        worker = spawn.start("dying", {"dsn": dsn})
    await eventually(all_ended)

    assert [it for it in STEPS if not ledger.is_open(f"died-{it}")] == [], "nobody died there"
    for handle, step in zip(handles, STEPS, strict=True):
        assert await handle.result(timeout=60) == f"booked held {step}"
    priced = Counter(start.asset.rpartition(".")[2] for start in ledger.starts())
    assert priced == {"trade": len(STEPS) + 1, "booked": len(STEPS)}, "before-request alone repeats"
    assert len(approved) == len(STEPS)
    assert tuple(await pg.fetchrow(LEFT_OVER)) == (0, 0, 0)
