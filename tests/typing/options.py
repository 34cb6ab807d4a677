"""Options go by keyword; one that does not exist, or has another type, is refused."""

from datetime import timedelta
from typing import assert_type

from flowstone import FlowStone, Pipeline, Retry, run_sync

sales = Pipeline("sales", io="lake", queue="etl", tags=["sales"], retry=3, timeout=60, owner="me")


@sales.asset(
    name="full",
    io="lake",
    retry=Retry(5),
    timeout=timedelta(minutes=10),
    queue="etl",
    priority=0,
    tags=["core"],
    owner="me",
    description="All of it",
    aliases=["half"],
    after=["other.asset"],
    version="2",
)
async def everything() -> None: ...


@sales.asset(executor="process")
def heavy() -> int:
    return 1


count: int = heavy()


sales.asset(retries=5)  # E:
sales.asset(priority="high")  # E:
sales.asset(tags=[1])  # E:
sales.asset(executor="fork")  # E:
sales.asset("name")  # E:
Pipeline("x", que="etl")  # E:
Pipeline()  # E:

app = FlowStone(sales)
assert_type(run_sync(app, heavy), int)
assert_type(run_sync(app, "heavy"), object)
assert_type(run_sync(app, [heavy, "full"], partition="a"), list[object])
run_sync(app, heavy, partion="a")  # E:
