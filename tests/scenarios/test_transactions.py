"""What a function writes commits with its settlement, whatever becomes of its worker meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from flowstone import FlowStone, JobContext, Pipeline, Retry
from flowstone.core.handle import RunHandle
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.caller_connection import fetch
from flowstone.engine.connecting import connect
from tests.scenarios import fence
from tests.scenarios.consistency import assert_completed_once, until_ended
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.locks import behind_a_lock, connected
from tests.scenarios.lossy_proxy import LossyProxy
from tests.scenarios.pipelines.paying import TABLE, immediate, payment
from tests.scenarios.pooler import BINARY, pooler
from tests.scenarios.spawned import Spawned, Spawner

VERY_LONG = 600.0
"""One in whose course nobody comes to look for claims that were lost."""


@pytest.fixture(autouse=True)
async def tables(pg: asyncpg.Connection) -> None:
    await pg.execute(TABLE)


PAYMENTS = """
SELECT
    (SELECT cents FROM public.accounts) AS cents,
    ARRAY(SELECT token FROM public.payments WHERE token <> 'other') AS tokens
"""


async def payments(pg: asyncpg.Connection) -> list[str]:
    """Return the tokens of the starts that paid; what is on the account has to agree."""
    found = await pg.fetchrow(PAYMENTS)
    assert found is not None
    tokens: list[str] = found["tokens"]
    assert found["cents"] == 1000 - 100 * len(tokens)
    return tokens


async def assert_paid_once(
    pg: asyncpg.Connection, ledger: Ledger, handle: RunHandle[object]
) -> None:
    """Check that the run is completed, and that the start which counts is the one that paid."""
    rows = await assert_completed_once(pg, ledger, handle.run_id)
    assert await payments(pg) == [row["value"]["token"] for row in rows.values()]


async def has_written(pg: asyncpg.Connection, ledger: Ledger, starts: int) -> None:
    """Return once the newest start has written, and holds its transaction open."""
    idle = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'
        AND query LIKE 'INSERT INTO public.payments%'
    """
    await eventually(lambda: ledger.has_starts(starts))
    await eventually(lambda: pg.fetchval(f"SELECT ({idle}) > 0"))


class TestTheFence:
    async def late_payment(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> RunHandle[object]:
        """
        Let a worker sleep after it has written and be given up; it wakes up, and comes with its
        settlement, while another is at the same payment.
        """
        # So long a lease that the server does not end its transaction; and its only slot taken, no
        # turn of its own is under way meanwhile.
        late = spawn.worker(dsn, "paying", slots=1, lease=VERY_LONG)
        handle = await app.enqueue(payment)
        await has_written(pg, ledger, 1)
        late.pause()
        # Its connection is still there: only the fence knows that it is late.
        await give_up(pg, late)
        # The account is locked by the late one's open transaction: the other one waits for it.
        spawn.worker(dsn, "paying", lease=LONG)
        await eventually(lambda: ledger.has_starts(2))
        await eventually(lambda: behind_a_lock(pg, "UPDATE public.accounts"))
        ledger.open_gate("payment-1")
        late.go_on()
        await eventually(lambda: self.has_answer(pg, late))
        ledger.open_gate("payment-2")
        await until_ended(pg, handle.run_id)
        return handle

    async def has_answer(self, pg: asyncpg.Connection, late: Spawned) -> bool:
        refusals = ("given up for dead", "taken over from this worker")
        return bool(await payments(pg)) or any(it in late.output() for it in refusals)

    @pytest.mark.parametrize(
        "missing",
        [[], ["worker", "worker of a transaction"], ["claim"]],
        ids=["whole", "half of it", "the other half"],
    )
    async def test_what_a_late_worker_has_written_vanishes_with_its_settlement(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        spawn: Spawner,
        ledger: Ledger,
        missing: list[str],
    ) -> None:
        await fence.take_out(pg, *missing)

        handle = await self.late_payment(app, dsn, pg, spawn, ledger)

        await assert_paid_once(pg, ledger, handle)
        assert len(ledger.starts()) == 2
        assert await payments(pg) == [ledger.starts()[1].token]

    async def test_without_the_fence_it_is_paid_by_the_late_one_and_this_test_sees_it(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        await fence.take_out(pg, "worker", "worker of a transaction", "claim")

        await self.late_payment(app, dsn, pg, spawn, ledger)

        assert await payments(pg) == [ledger.starts()[0].token]


class TestDeaths:
    async def test_killed_between_its_writes_and_the_commit_it_leaves_none(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        doomed = spawn.worker(dsn, "paying", lease=LONG)
        handle = await app.enqueue(payment)
        await has_written(pg, ledger, 1)
        doomed.kill()
        await give_up(pg, doomed)
        ledger.open_gate("payment-1")
        ledger.open_gate("payment-2")
        spawn.worker(dsn, "paying", lease=LONG)
        await until_ended(pg, handle.run_id)

        await assert_paid_once(pg, ledger, handle)
        assert await payments(pg) == [ledger.starts()[1].token]

    async def test_killed_in_the_commit_it_has_paid_and_is_settled(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        doomed = spawn.worker(dsn, "paying", lease=LONG)
        async with commit_held(dsn):
            handle = await app.enqueue(immediate)
            await eventually(lambda: behind_a_lock(pg, "COMMIT"))
            doomed.kill()
        spawn.worker(dsn, "paying", lease=LONG)
        await until_ended(pg, handle.run_id)

        await assert_paid_once(pg, ledger, handle)
        assert len(ledger.starts()) == 1

    async def test_what_stands_still_lets_go_of_its_locks_before_others_need_them(
        self, app: FlowStone, dsn: str, pg: asyncpg.Connection, spawn: Spawner, ledger: Ledger
    ) -> None:
        still = spawn.worker(dsn, "paying", lease=3)
        handle = await app.enqueue(payment)
        await has_written(pg, ledger, 1)
        still.pause()
        for step in range(2, 6):  # on a slow machine the server may end another's transaction, too
            ledger.open_gate(f"payment-{step}")
        spawn.worker(dsn, "paying", lease=3)
        await until_ended(pg, handle.run_id)

        await assert_paid_once(pg, ledger, handle)
        ledger.open_gate("payment-1")
        still.go_on()
        await eventually(lambda: "given up for dead" in still.output())
        await assert_paid_once(pg, ledger, handle)


@asynccontextmanager
async def commit_held(dsn: str, *, pays: bool = False) -> AsyncIterator[None]:
    """
    Hold the commit of step 1 at a lock.

    Args:
        pays: Whether the other payment of that step commits at the end, so that the held one fails.
    """
    async with connected(dsn) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO public.payments VALUES ('other', 1)")
        yield
        await (transaction.commit() if pays else transaction.rollback())


class TestALostConnection:
    """It is cut when the server is at the commit, and nobody can say what becomes of that."""

    @pytest.fixture
    async def proxy(self, dsn: str) -> AsyncIterator[LossyProxy]:
        async with LossyProxy(dsn).listening() as proxy:
            yield proxy

    async def test_a_commit_that_went_through_counts_and_nothing_is_run_again(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        proxy: LossyProxy,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        worker = spawn.worker(proxy.dsn, "paying", lease=VERY_LONG)
        async with commit_held(dsn):
            handle = await app.enqueue(immediate)
            await eventually(lambda: behind_a_lock(pg, "COMMIT"))
            proxy.cut_asking(b"COMMIT")
            await eventually(lambda: "Nobody has answered the commit" in worker.output())
        await until_ended(pg, handle.run_id)

        await assert_paid_once(pg, ledger, handle)
        await eventually(lambda: "taken over from this worker" in worker.output())
        assert len(ledger.starts()) == 1

    async def test_one_that_did_not_is_run_again_at_once(
        self,
        app: FlowStone,
        dsn: str,
        pg: asyncpg.Connection,
        proxy: LossyProxy,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        worker = spawn.worker(proxy.dsn, "paying", lease=VERY_LONG)
        async with commit_held(dsn, pays=True):
            handle = await app.enqueue(immediate)
            await eventually(lambda: behind_a_lock(pg, "COMMIT"))
            proxy.cut_asking(b"COMMIT")
            await eventually(lambda: "Nobody has answered the commit" in worker.output())
        await until_ended(pg, handle.run_id)

        await assert_paid_once(pg, ledger, handle)
        assert [start.attempt for start in ledger.starts()] == [1, 1]

    async def test_one_that_was_not_begun_takes_the_writes_back(
        self,
        app: FlowStone,
        pg: asyncpg.Connection,
        proxy: LossyProxy,
        spawn: Spawner,
        ledger: Ledger,
    ) -> None:
        worker = spawn.worker(proxy.dsn, "paying", lease=VERY_LONG)
        handle = await app.enqueue(payment)
        await has_written(pg, ledger, 1)
        proxy.cut_all()
        ledger.open_gate("payment-1")
        await eventually(lambda: "nothing of ctx.transaction() was committed" in worker.output())

        assert await payments(pg) == []
        await handle.cancel()
        await until_ended(pg, handle.run_id)
        assert len(ledger.starts()) == 1


@pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed")
class TestThroughAPooler:
    """It lends a server for one transaction; with two, more transactions than servers are open."""

    async def test_each_driver_pays_once_and_leaves_nothing_in_a_servers_session(
        self, dsn: str, pg: asyncpg.Connection, ledger: Ledger
    ) -> None:
        shop = Pipeline("shop")
        drivers = ("asyncpg", "psycopg", "sqlalchemy")
        thanked = []

        @shop.job(retry=Retry(2, base="0s"))
        async def pay_by(ctx: JobContext, number: int) -> None:
            async with ctx.transaction(drivers[number % 3]) as conn:
                for step in range(7):  # often enough for psycopg to prepare a statement
                    await fetch(conn, PAY, f"{number}-{step}", number * 10 + step)
                await app.enqueue(thank.with_(number), conn=conn)
            if ctx.attempt == 1 and number < 3:
                raise RuntimeError("after the block")

        @shop.job
        async def thank(number: int) -> None:
            thanked.append(number)

        with pooler(dsn) as pooled:
            async with FlowStone(shop, dsn=pooled) as app:
                # The last ones are SQLAlchemy's, which tidies up no session.
                for numbers in (range(12), (14, 17, 20)):
                    await app.enqueue_many([pay_by.with_(number) for number in numbers])
                    await app.worker(WorkerOptions({"default": 20}, drain=True)).run()
                rest = await connect(pooled)
                for _ in range(10):  # whichever server is lent
                    async with rest.transaction():
                        assert await rest.fetchval(LEFT_IN_SESSION) == ("0", "", 0)
                await rest.close()

        assert sorted(thanked) == [*range(12), 14, 17, 20]
        assert await pg.fetchval("SELECT count(*) FROM public.payments") == 15 * 7


PAY = "INSERT INTO public.payments VALUES ($1::text, $2::integer) RETURNING step"
LEFT_IN_SESSION = """
SELECT (
    current_setting('idle_in_transaction_session_timeout'),
    coalesce(current_setting('flowstone_transaction.token', true), ''),
    (SELECT count(*)::integer FROM pg_prepared_statements)
)
"""
