"""What a type checker knows of a test with `flowstone.testing`."""

from datetime import date

from flowstone import Cancel, Context, Dep, FlowStone, JobContext, Pipeline, Skip, Snooze
from flowstone.core.contracts.store import RunRecord
from flowstone.core.outcome import Waiting
from flowstone.testing import (
    Applications,
    Drained,
    EnqueuedJob,
    OwnedClock,
    advance,
    assert_enqueued,
    crash,
    drain,
    enqueued,
    memory_app,
    perform,
    refute_enqueued,
)

shop = Pipeline("shop")


@shop.job
async def send(ctx: JobContext, to: str) -> int | Snooze:
    return len(to)


@shop.asset
async def orders() -> list[int]:
    return [1]


@shop.asset
async def total(ctx: Context[date], orders: list[int] = Dep(orders)) -> int:
    return sum(orders)


async def test(flowstone_app: Applications) -> None:
    app: FlowStone = memory_app(FlowStone(shop), clock=OwnedClock())
    async with flowstone_app(app) as opened, flowstone_app(shop, retention=None):
        length: int | Snooze | Cancel | Skip | Waiting = await perform(opened, send.with_("Ada"))
        summed: int | Snooze | Cancel | Skip | Waiting = await perform(
            opened, total, partition=date(2025, 1, 15), inputs={"orders": [1]}
        )
        found: EnqueuedJob = await assert_enqueued(opened, send.with_("Ada"), delay="1h")
        await assert_enqueued(opened, send, arguments={"to": "Ada"})
        await refute_enqueued(opened, send, conn=object())
        run: RunRecord = await assert_enqueued(opened, total, partition=date(2025, 1, 15))
        print(run)
        several: list[EnqueuedJob] = await enqueued(opened)
        drained: Drained = await drain(opened, ["mail"], with_scheduled=True)
        await advance(opened, "1h")
        await crash(opened.worker())
        print(length, summed, found, several, drained.succeeded)

        await perform(opened, send)  # E:
        await perform(opened, send.with_(1))  # E:
        await perform(opened, send.with_("Ada"), partition=1)  # E:
        await perform(opened, total, job_id=1)  # E:
        wrong: str = await perform(opened, send.with_("Ada"))  # E:
        await assert_enqueued(opened, orders, conn=object())  # E:
        await drain(opened, limit="3")  # E:
        print(wrong)
