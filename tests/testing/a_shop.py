"""What a shop might have: jobs and assets that return, wait, fail and want resources."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date

from flowstone import (
    Cancel,
    Config,
    Context,
    Dep,
    FlowStone,
    JobContext,
    Pipeline,
    Requires,
    Retry,
    Skip,
    Snooze,
)
from flowstone.core.contracts.resource import Resource
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions


class Mailer:
    def __init__(self, name: str = "the real one") -> None:
        self.name = name
        self.sent: list[str] = []


class Clerk:
    pass


class MailerResource(Resource[Mailer]):
    async def setup(self, config: Mapping[str, object]) -> Mailer:
        return Mailer()


class ClerkResource(Resource[Clerk]):
    async def setup(self, config: Mapping[str, object]) -> Clerk:
        return Clerk()


@dataclass
class Address:
    street: str
    number: int = 1


class ReportConfig(Config):
    top_n: int = 3


shop = Pipeline("shop")


@shop.job(queue="mail")
async def send_mail(
    ctx: JobContext,
    to: str,
    subject: str = "Hello",
    mailer: Mailer = Requires(Mailer),
    clerk: Clerk = Requires(Clerk),
) -> str:
    mailer.sent.append(to)
    return f"{ctx.job} {ctx.job_id}, attempt {ctx.attempt} on {ctx.queue}: {subject}, {to}"


@shop.job
def deliver(address: Address) -> Address:
    assert isinstance(address, Address)
    return address


@shop.job(retry=Retry(3, base="1m", factor=2, jitter=0))
async def ends(how: str) -> object:
    match how:
        case "snooze":
            return Snooze("10m")
        case "cancel":
            return Cancel("closed")
        case "skip":
            return Skip("nothing to do")
        case "fail":
            raise ConnectionError("the post is away")
        case "unstorable":
            return object()
    return how


@shop.job(timeout="20ms")
async def hangs() -> None:
    await asyncio.Event().wait()


@shop.asset
async def orders(ctx: Context[date]) -> list[int]:
    return [ctx.partition.day]


@shop.asset
async def names() -> list[str]:
    return []


@shop.asset
async def report(
    ctx: Context[date],
    config: ReportConfig,
    base: list[int] = Dep(orders),
    extra: list[str] | None = Dep(names, optional=True),
) -> dict[str, object]:
    return {
        "day": ctx.partition.isoformat(),
        "sum": sum(base),
        "top": config.top_n,
        "extra": extra,
        "run": ctx.run_id,
        "attempt": ctx.attempt,
    }


def an_app() -> FlowStone:
    return FlowStone(shop, resources={Mailer: MailerResource(), Clerk: ClerkResource()})


@asynccontextmanager
async def working(app: FlowStone, options: WorkerOptions | None = None) -> AsyncIterator[Worker]:
    worker = app.worker(options)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 60)
