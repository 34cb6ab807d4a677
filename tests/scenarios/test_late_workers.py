"""A worker that was given up for dead and lives: what it brings is refused, and it goes on."""

import asyncpg
import pytest

from flowstone import FlowStone
from tests.scenarios import fence
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, running_jobs_locked
from tests.scenarios.pipelines.gated import after_held, held, plain, stubborn
from tests.scenarios.spawned import Spawned, Spawner


async def given_up(pg: asyncpg.Connection, worker: Spawned) -> None:
    """Return once the worker's row is gone, and its work with it."""
    await eventually(
        lambda: pg.fetchval(
            "SELECT NOT EXISTS (SELECT FROM flowstone.workers WHERE pid = $1)", worker.pid
        )
    )


async def at_work(pg: asyncpg.Connection, worker: Spawned) -> None:
    """Return once the worker is there, under whatever id."""
    await eventually(
        lambda: pg.fetchval(
            "SELECT EXISTS (SELECT FROM flowstone.workers WHERE pid = $1)", worker.pid
        )
    )


class TestTheFence:
    """
    One worker sleeps beyond its lease over an asset, another takes the asset over and is still at
    it when the first wakes up and comes with a value.
    """

    async def late_value(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
    ) -> int:
        """Play it until the first worker's value was refused or taken; return the run's id."""
        # Its only slot taken, it asks for nothing more: no turn of its own is under way meanwhile.
        late = spawn.worker(dsn, "gated", slots=1, lease=LONG)
        await at_work(pg, late)
        handle = await app.enqueue(after_held)
        await eventually(lambda: len(ledger.starts(held.full_name)) == 1)
        late.pause()
        await give_up(pg, late)
        other = spawn.worker(dsn, "gated", lease=LONG)
        await eventually(lambda: len(ledger.starts(held.full_name)) == 2)
        assert [start.pid for start in ledger.starts(held.full_name)] == [late.pid, other.pid]

        ledger.open_gate("held-1")
        late.go_on()
        await eventually(lambda: self.has_answer(pg, late, handle.run_id))
        ledger.open_gate("held-2")
        await until_ended(pg, handle.run_id)
        return handle.run_id

    async def has_answer(self, pg: asyncpg.Connection, late: Spawned, run_id: int) -> bool:
        """Refused, it registers anew; taken, the asset has succeeded before its time."""
        succeeded = await pg.fetchval(
            "SELECT succeeded FROM flowstone.run_progress WHERE run_id = $1", run_id
        )
        refusals = ("given up for dead", "taken over from this worker")
        return succeeded > 0 or any(refusal in late.output() for refusal in refusals)

    @pytest.mark.parametrize(
        "missing", [[], ["worker"], ["claim"]], ids=["whole", "half of it", "the other half"]
    )
    async def test_a_late_value_is_refused(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
        missing: list[str],
    ) -> None:
        await fence.take_out(pg, *missing)

        run_id = await self.late_value(app, dsn, pg, spawn, ledger)

        rows = await assert_completed_once(pg, ledger, run_id)
        assert [row["attempt"] for row in rows.values()] == [2, 1]

    async def test_without_the_fence_it_is_taken_and_this_test_sees_it(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        await fence.take_out(pg, "worker", "claim")

        run_id = await self.late_value(app, dsn, pg, spawn, ledger)

        with pytest.raises(AssertionError, match="the value is not of the attempt that counts"):
            await assert_completed_once(pg, ledger, run_id)


class TestAfterwards:
    async def test_it_registers_again_and_goes_on_while_its_old_work_is_refused(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        late = spawn.worker(dsn, "gated", lease=LONG, poll_interval=0.2)
        await at_work(pg, late)
        handle = await app.enqueue(stubborn)
        await eventually(lambda: ledger.starts())
        late.pause()
        await give_up(pg, late)
        other = spawn.worker(dsn, "gated", lease=LONG)
        await eventually(lambda: len(ledger.starts()) == 2)
        late.go_on()
        await at_work(pg, late)
        ledger.open_gate("stubborn-1")
        await eventually(lambda: "taken over from this worker" in late.output())
        ledger.open_gate("stubborn-2")
        await until_ended(pg, handle.run_id)
        other.ask_to_stop()
        assert await other.exit_code() == 0
        made = await (await app.enqueue(plain)).result(timeout=60)

        await assert_completed_once(pg, ledger, handle.run_id)
        assert made.pid == late.pid

    async def test_it_may_get_the_same_work_again_while_the_old_attempt_is_not_over(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        late = spawn.worker(dsn, "gated", lease=LONG, poll_interval=0.2)
        await at_work(pg, late)
        handle = await app.enqueue(stubborn)
        await eventually(lambda: ledger.starts())
        late.pause()
        await give_up(pg, late)
        late.go_on()
        await eventually(
            lambda: pg.fetchval(
                "SELECT EXISTS (SELECT FROM flowstone.materializations"
                " WHERE status = 'running' AND attempt = 2)"
            )
        )
        ledger.open_gate("stubborn-1")
        await eventually(lambda: len(ledger.starts()) == 2)
        ledger.open_gate("stubborn-2")

        await until_ended(pg, handle.run_id)
        rows = await assert_completed_once(pg, ledger, handle.run_id)
        assert [row["attempt"] for row in rows.values()] == [2]
        assert {start.pid for start in ledger.starts()} == {late.pid}

    async def test_what_its_last_turn_claims_after_it_was_given_up_is_not_left_running(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        late = spawn.worker(dsn, "gated", slots=1, lease=LONG, poll_interval=0.2)
        await at_work(pg, spawn.worker(dsn, "gated", slots=0, lease=1))  # looks often
        first = await app.enqueue(held)
        await eventually(lambda: ledger.starts())
        then = await app.enqueue(plain)
        async with running_jobs_locked(dsn):
            ledger.open_gate("held-1")
            await eventually(lambda: behind_a_lock(pg, "flowstone_turn_v1"))
            late.pause()
            await pg.execute(
                "UPDATE flowstone.flowstone_workers SET heartbeat_at = 'epoch' WHERE pid = $1",
                late.pid,
            )
            await eventually(lambda: behind_a_lock(pg, "flowstone_rescue_v1"))
        await given_up(pg, late)
        late.go_on()
        await until_ended(pg, first.run_id, then.run_id)

        await assert_completed_once(pg, ledger, first.run_id, then.run_id)
