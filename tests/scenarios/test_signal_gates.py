"""Gates among processes that fight over them, and that die at every step."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.errors import RunFailedError
from flowstone.plugins.signal_gate import Answer, GateCoordinator, signal
from tests.plugins.conftest import template_database  # with the tables of plugins
from tests.scenarios.consistency import LEFT_OVER, until_ended
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.dying_gates import STEPS, TIMED, dying_gates
from tests.scenarios.pipelines.gates import gates
from tests.scenarios.processes.gate_rival import is_left_alone
from tests.scenarios.spawned import Spawner

__all__ = ["template_database"]

ROUNDS = 60
"""Of each kind of race."""

GATES = """
SELECT
    g.token, g.status, m.status AS asset, v.value #>> '{}' AS value
FROM flowstone.signal_gates g
JOIN flowstone.materializations m USING (materialization_id)
LEFT JOIN flowstone.flowstone_values v USING (materialization_id)
"""
OPEN = """
SELECT
    (SELECT count(*) FROM flowstone.waiting)
    + (SELECT count(*) FROM flowstone.signal_gates WHERE status = 'waiting')
    + (SELECT count(*) FROM flowstone.signal_gates_early)
"""


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    async with FlowStone([gates, dying_gates], dsn=dsn) as app:
        yield app


def continued(ledger: Ledger) -> Counter[tuple[str, str]]:
    """Count (what, partition) of everything that went on."""
    lines = (ledger.folder / "continued").read_text(encoding="utf-8").splitlines()
    return Counter((what, partition) for what, partition, _ in map(str.split, lines))


async def test_of_signals_a_deadline_and_a_cancel_one_wins(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    tokens: dict[str, int | None] = {}
    runs = []
    for number in range(ROUNDS):
        cancelled = "patient" if number % 2 else "hasty"
        for kind, asset in (("signals", "patient"), ("times", "hasty"), ("cancels", cancelled)):
            token = f"{kind}-{number}"
            handle = await app.enqueue(f"gates.{asset}", partition=token)
            runs.append(handle.run_id)
            tokens[token] = handle.run_id if kind == "cancels" else None
    for _ in range(2):
        spawn.worker(dsn, "gates", slots=20, lease=LONG)
    rivals = [
        spawn.start("gate_rival", {"dsn": dsn, "tokens": tokens, "name": name, "seed": seed})
        for seed, name in enumerate(("ann", "bob"), random.randrange(1000))
    ]
    codes = [await rival.exit_code() for rival in rivals]
    assert codes == [0, 0]
    await until_ended(pg, *runs)

    accepted = {
        name: set(json.loads(rival.output().splitlines()[-1]))
        for name, rival in zip(("ann", "bob"), rivals, strict=True)
    }
    assert accepted["ann"] & accepted["bob"] == set()
    happened = continued(ledger)
    found = await pg.fetch(GATES)
    for row in found:
        token, status, asset, value = row
        winners = [name for name, theirs in accepted.items() if token in theirs]
        went_on = [what for what in ("signaled", "late") if happened[what, token]]
        if asset == "succeeded":
            assert went_on == [{"signaled": "signaled", "timeout": "late"}[status]]
            assert value == (winners[0] if status == "signaled" else "late")
            assert happened[went_on[0], token] == 1
        else:
            assert (asset, token.startswith("cancels")) == ("cancelled", True)
        if status == "signaled":
            assert value in (*winners, None)
            assert len(winners) <= 1
        else:
            assert winners == []
    assert max(happened.values()) == 1
    assert {row["status"] for row in found} == {"signaled", "timeout", "cancelled"}
    assert not any(row["status"] == "signaled" for row in found if is_left_alone(row["token"]))
    assert all(row["status"] == "signaled" for row in found if row["token"].startswith("signals"))
    # What was cancelled before its gate opened leaves a signal that nobody takes; no gate is open.
    (left,) = await pg.fetch(LEFT_OVER)
    assert dict(left) == {"open_jobs": 0, "waits": 0, "values_of_nothing": 0}
    assert await app.coordinator(GateCoordinator).waiting() == []


@pytest.mark.timeout(300)
async def test_whoever_dies_at_whatever_step_nothing_is_stuck_and_nothing_is_twice(
    app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
) -> None:
    coordinator = app.coordinator(GateCoordinator)
    assert (await signal(app, "after_early", 7)).answer is Answer.KEPT
    handles = {it: await app.enqueue(f"dying.{it}", partition=it) for it in STEPS}
    killers = [spawn.start("gate_worker", {"dsn": dsn, "step": step}) for step in STEPS]
    for step in ("before_go_on", "after_go_on"):
        # Six processes start at once.
        await eventually(lambda step=step: coordinator.find(step))
        assert (await signal(app, step, 7)).answer is Answer.ACCEPTED
    for killer in killers:
        await killer.killed_itself()
        await give_up(pg, killer)
    # One that was lost after opening its gate can be signaled, and is not begun again for it.
    assert (await signal(app, "after_create", 7)).answer is Answer.ACCEPTED

    spawn.worker(dsn, "dying_gates", queues=STEPS, lease=LONG)
    await eventually(lambda: coordinator.find("before_create 2"))
    await signal(app, "before_create 2", 7)

    for step, handle in handles.items():
        if step == TIMED:
            with pytest.raises(RunFailedError, match="no signal came"):
                await handle.result(timeout=60)
        else:
            assert await handle.result(timeout=60) == 7, step
    happened = continued(ledger)
    begun = {step: happened["begun", step] for step in STEPS}
    assert begun == {**dict.fromkeys(STEPS, 1), "before_create": 2}
    assert happened["signaled", "after_go_on"] == 2, "it ran, and its worker died before it settled"
    assert await pg.fetchval(OPEN) == 0
