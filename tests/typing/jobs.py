"""A job's arguments are typed where it is enqueued, and its result where it is waited for."""

from datetime import UTC, datetime

from flowstone import (
    Cancel,
    FlowStone,
    JobContext,
    JobHandle,
    Pipeline,
    Requires,
    RunHandle,
    Snooze,
)

shop = Pipeline("shop")


class Mailer: ...


@shop.job(queue="mail", retry=5, timeout="1m", priority=3)
async def send(ctx: JobContext, to: str, subject: str = "Hello") -> int | Snooze | Cancel:
    return len(to)


@shop.job
async def ping() -> None: ...


@shop.job(executor="process")
def shrink(path: str, *, width: int) -> str:
    return path


@shop.job
def plain(ctx: JobContext, number: float) -> float | Snooze:
    return number


@shop.job
async def with_resource(to: str, mailer: Mailer = Requires(Mailer)) -> bool:
    return True


@shop.asset
async def orders() -> list[int]:
    return [1]


app = FlowStone(shop)


async def enqueued() -> None:
    job: JobHandle[int] = await app.enqueue(send.with_(to="Ada"))
    length: int = await job.result(timeout=5)
    await app.enqueue(send.with_("Ada", "Bye"), queue="slow", at=datetime.now(UTC), delay="1h")
    texts: list[JobHandle[str]] = await app.enqueue_many([shrink.with_("a", width=1)])
    number: float = await (await app.enqueue(plain.with_(1.5))).result()
    nothing: JobHandle[None] = await app.enqueue(ping.with_())
    sure: bool = await (await app.enqueue(with_resource.with_(to="Ada"))).result()
    run: RunHandle[list[int]] = await app.enqueue(orders)
    print(length, texts, number, nothing, sure, run)

    send.with_()  # E:
    send.with_(to=5)  # E:
    send.with_("Ada", "Bye", "what?")  # E:
    send.with_(to="Ada", form="html")  # E:
    shrink.with_("a", 1)  # E:
    ping.with_(1)  # E:
    wrong: JobHandle[str] = await app.enqueue(send.with_(to="Ada"))  # E:
    await app.enqueue(send.with_(to="Ada"), partition=1)  # E:
    await app.enqueue(send.with_(to="Ada"), que="mail")  # E:
    print(wrong)


async def direct(ctx: JobContext) -> None:
    length: int | Snooze | Cancel = await send(ctx, "Ada")
    path: str = shrink("a", width=1)
    print(length, path)

    await send("Ada")  # E:
    shrink(1, width=1)  # E:


shop.job(retries=5)  # E:
shop.job(partition=5)  # E:
