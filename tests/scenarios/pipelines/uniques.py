"""Unique jobs that take as long as the test wants."""

from flowstone import JobContext, Pipeline, Retry, Unique
from tests.scenarios.ledger import Ledger

uniques = Pipeline("uniques")


@uniques.job(unique=Unique(by=["what"]))
async def synced(what: str, note: str = "") -> str:
    return f"{what}{note}"


@uniques.job(unique=Unique(on_conflict="raise"))
async def refused(what: str) -> str:
    return what


@uniques.job(unique=Unique(states={"waiting"}), retry=Retry(3, base=0))
async def returning(ctx: JobContext) -> int:
    """Fail the first time, once the gate ``fail`` is open."""
    ledger = Ledger.of_this_process()
    ledger.begin(ctx)
    if ctx.attempt == 1:
        await ledger.pass_gate("fail")
        raise ConnectionError("nobody there")
    return ctx.attempt


@uniques.job(unique=Unique(within="1h"))
async def lasting(ctx: JobContext) -> int:
    """Return its attempt, once the gate ``end`` is open."""
    ledger = Ledger.of_this_process()
    ledger.begin(ctx)
    await ledger.pass_gate("end")
    return ctx.attempt


@uniques.job(unique=Unique(by=[], on_conflict="replace"))
async def urged(what: str) -> str:
    return what


@uniques.job
async def beside() -> str:
    return "done"
