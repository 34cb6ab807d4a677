"""docs/operating.md: a role that owns nothing works with the rights that the page gives it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from psycopg.conninfo import make_conninfo

from flowstone import Dep, FlowStone, JobContext, Limit, Pipeline, Unique
from flowstone.core.retention import Retention
from flowstone.core.worker_options import WorkerOptions
from tests.docs.code_blocks import blocks

shop = Pipeline("shop")


@shop.asset
async def orders() -> list[int]:
    return [1, 2]


@shop.asset
async def total(orders: list[int] = Dep(orders)) -> int:
    return sum(orders)


@shop.job(unique=Unique(), queue="mail")
async def send(ctx: JobContext, to: str) -> str:
    async with ctx.limit("smtp"):
        return to


@shop.job
async def pay(ctx: JobContext) -> None:
    async with ctx.transaction() as conn:
        await conn.execute("SELECT 1")


@pytest.fixture
async def role(pg: asyncpg.Connection) -> AsyncIterator[str]:
    if not await pg.fetchval("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = user"):
        pytest.skip("this server's user may not create roles")
    role = f"worker_{await pg.fetchval('SELECT current_database()')}"
    [grants] = blocks("docs/operating.md", "sql")
    await pg.execute(f"CREATE ROLE {role}")
    try:
        await pg.execute(grants.text.replace("flowstone_worker", role))
        yield role
    finally:
        await pg.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_with_these_rights_works(dsn: str, role: str) -> None:
    retention = Retention("1h")
    app = FlowStone(shop, dsn=make_conninfo(dsn, options=f"-c role={role}"), retention=retention)
    async with app:
        await app.limits.set("smtp", Limit(slots=1, rate="100/s"))
        await app.queues.limit("mail", max_running=1, rate="100/s")
        jobs = [await app.enqueue(send.with_(to=to)) for to in ("Ada", "Ada", "Grace")]
        paid = await app.enqueue(pay.with_())
        run = await app.enqueue(total)
        await app.worker(WorkerOptions(queues={"default": 5, "mail": 5}, drain=True)).run()

        assert await run.result(timeout=60) == 3
        assert [await it.result(timeout=60) for it in jobs] == ["Ada", "Ada", "Grace"]
        await paid.result(timeout=60)
        assert await app.run(total, force=True) == 3
        assert await app.invalidate(orders) == 2
        assert await (await app.enqueue(total)).cancel() == 2
        assert await app.store.rescue(max_rescues=5) == []
        assert await app.store.reconcile() == []
        assert await app.store.hold_lease("here", "me", timedelta(seconds=5))
        await app.store.prune(retention)
        await app.store.origin()
        assert (await app.health()).ok
