"""An asset and a job that write to the application's own table, and then wait for a gate."""

from flowstone import Context, JobContext, Pipeline
from tests.scenarios.ledger import Ledger, Start
from tests.scenarios.pipelines.made import Made, begin, made

paying = Pipeline("paying")

TABLE = """
CREATE TABLE public.accounts (id integer PRIMARY KEY, cents integer);
INSERT INTO public.accounts VALUES (1, 1000);
CREATE TABLE public.payments (token text UNIQUE, step integer UNIQUE DEFERRABLE INITIALLY DEFERRED)
"""
"""Payments of the same step meet only when they commit."""


async def pay(ctx: Context | JobContext, start: Start, step: int) -> None:
    async with ctx.transaction() as conn:
        await conn.execute("UPDATE public.accounts SET cents = cents - 100 WHERE id = 1")
        await conn.execute("INSERT INTO public.payments VALUES ($1, $2)", start.token, step)


@paying.asset
async def payment(ctx: Context) -> Made:
    """Holds what it wrote open until the gate of its start is open: ``payment-1``, …"""
    start = begin(ctx)
    ledger = Ledger.of_this_process()
    step = len(ledger.starts())
    await pay(ctx, start, step)
    await ledger.pass_gate(f"payment-{step}")
    return made(start)


@paying.asset
async def immediate(ctx: Context) -> Made:
    """Waits for nothing."""
    start = begin(ctx)
    await pay(ctx, start, len(Ledger.of_this_process().starts()))
    return made(start)
