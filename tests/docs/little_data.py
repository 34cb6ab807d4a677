"""A shop's database with a little of everything that docs/sql.md asks about."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from flowstone import Definition, Dep, FlowStone, Pipeline, Retry
from flowstone.core.contracts.store import Capacity, WorkerInfo
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake
from flowstone.core.worker_options import WorkerOptions

T = TypeVar("T")

DAY = date(2025, 1, 15)

shop = Pipeline("shop")


class Approval(Strategy):
    """Waits for two days at most."""

    async def start(self, execution: Execution) -> Outcome:
        return Waiting("approval", state={"by": "the owner"}, timeout=timedelta(days=2))

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


@shop.asset
async def orders() -> list[int]:
    return [120, 80]


@shop.asset
async def revenue(orders: list[int] = Dep(orders)) -> dict[str, int]:
    return {"total": sum(orders)}


@shop.asset
async def report(revenue: dict[str, int] = Dep(revenue)) -> str:
    return f"{revenue['total']} cents"


@shop.asset
async def prices() -> dict[str, int]:
    raise ValueError("no price for 'tea'")


@shop.asset
async def catalog(prices: dict[str, int] = Dep(prices)) -> list[str]:
    return sorted(prices)


@shop.asset(retry=Retry(5, base="4m"))
async def rates() -> float:
    raise ConnectionError("the service is away")


def by_approval(function: Callable[[], Awaitable[T]]) -> Definition[[], T]:
    return Definition(function, strategy=Approval())


@shop.asset
@by_approval
async def price_list() -> dict[str, int]:
    return {}


@shop.asset
async def leaflet(price_list: dict[str, int] = Dep(price_list)) -> str:
    return str(price_list)


@shop.asset(queue="slow")
async def photographs() -> int:
    return 0


@shop.asset
async def inventory() -> int:
    return 7


@shop.job
async def send_receipt(to: str) -> str:
    return f"sent to {to}"


async def write(dsn: str) -> None:
    """
    Leave runs 1 to 9 behind, in this order.

    Report succeeds; again, forced, it reuses; catalog fails by prices; rates are to be retried;
    leaflet waits for a price list; photographs are running; one is enqueued for tomorrow; of the
    day before there is an invalidated value; an inventory is there. One of two jobs is done, the
    other waits for its time, in a queue with limits.
    """
    async with FlowStone(shop, dsn=dsn) as app:
        await app.run(report, partition=DAY)
        await app.enqueue(report, partition=DAY, force=True)
        await app.enqueue(catalog)
        await app.enqueue(rates)
        await app.enqueue(leaflet)
        await app.enqueue(photographs)
        await app.enqueue(revenue, partition=DAY, force=True, at=datetime.now(UTC) + timedelta(1))
        await app.worker(WorkerOptions(queues={"default": 10}, drain=True)).run()
        worker = await app.store.register_worker(WorkerInfo("host.example", 4711, ["slow"]))
        await app.store.turn(worker, [], Capacity({"slow": 1}))
        await app.run(orders, partition=DAY - timedelta(1))
        await app.invalidate(orders, partition=DAY - timedelta(1))
        await app.run(inventory)
        await app.enqueue(send_receipt.with_(to="Ada"), queue="mail")
        await app.enqueue(send_receipt.with_(to="Grace"), queue="mail", delay="1h")
        await app.worker(WorkerOptions(queues={"mail": 1}, drain=True)).run()
        await app.queues.limit("mail", max_running=5, rate="100/m")
