"""
A Distributed Map of Step Functions as a scatter: a CSV file, in batches, some failures. In memory.

    python examples/map_state.py

prints::

    read        100 orders in 10 batches
    charged     96 orders, 4800.00 EUR
    refused     4 orders: CardError: no card
    again       0 batches: the value is fresh
"""

import asyncio
import csv
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowstone import FlowStone, Pipeline, reader
from flowstone.core.contracts.item_source import ItemSource
from flowstone.plugins.readers_files import CsvReader
from flowstone.plugins.scatter import Batch, Results, batch, scatter

shop = Pipeline("shop")


class CardError(Exception):
    """A card cannot be charged."""


@dataclass(frozen=True)
class Order:
    number: int
    cents: int


@dataclass(frozen=True)
class Charged:
    """What one batch came to, and what all of them did."""

    orders: int
    cents: int
    batches: int = 1
    refused: tuple[str, ...] = ()


# "ItemReader": {"Resource": "arn:aws:states:::s3:getObject",
#                "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}}
def rows() -> ItemSource[Mapping[str, str]]:
    """Which reader that is says the application."""
    return reader("orders")


# "ItemSelector": {"number.$": "$$.Map.Item.Value.number", "cents.$": "$$.Map.Item.Value.cents"}
def order(row: Mapping[str, str]) -> Order:
    return Order(int(row["number"]), int(row["cents"]))


# "BatchInput": {"currency": "EUR"}
def currency() -> str:
    return "EUR"


# "ResultWriter", and the state after it that reads what was written
async def summed(results: Results[object, Charged]) -> Charged:
    orders = cents = batches = 0
    refused: list[str] = []
    async for it in results:
        orders, cents, batches = orders + it.value.orders, cents + it.value.cents, batches + 1
        refused += it.value.refused
    return Charged(orders, cents, batches, tuple(refused))


# "MaxConcurrency": 4, "ToleratedFailurePercentage": 5,
# "ItemBatcher": {"MaxItemsPerBatch": 10}
@shop.asset
@scatter(
    rows,
    select=order,
    gather=summed,
    max_concurrent=4,
    failure_mode="partial",
    failure_threshold=0.05,
)
@batch(max_items=10, input=currency, on_item_error="collect_errors")
async def charged(b: Batch[Order, str]) -> Charged:
    """Charge ten orders; one that cannot be charged does not fail the others."""
    done: list[Order] = []
    for it in b:
        with b.item(it):
            charge(it, b.input)
            done.append(it)
    refused = [f"{type(error).__name__}: {error}" for error in b.errors.values()]
    return Charged(len(done), sum(it.cents for it in done), refused=tuple(refused))


def charge(order: Order, currency: str) -> None:
    """Stand for the service that is asked."""
    if order.number % 25 == 0:
        raise CardError("no card")


def write_orders(file: Path) -> Path:
    """Write a hundred orders, and return the file."""
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["number", "cents"])
        writer.writerows([number, 100 * number] for number in range(1, 101))
    return file


async def main() -> None:
    """Write the file, run the scatter, and ask what another run would do."""
    with tempfile.TemporaryDirectory() as folder:
        file = write_orders(Path(folder, "orders.csv"))
        async with FlowStone(shop, readers={"orders": (CsvReader, {"path": file})}) as app:
            found = await app.run(charged)
            count = found.orders + len(found.refused)
            print(f"read        {count} orders in {found.batches} batches")
            print(f"charged     {found.orders} orders, {found.cents / 100:.2f} EUR")
            print(f"refused     {len(found.refused)} orders: {found.refused[0]}")
            runs = [it for it in await app.plan(charged) if it.action == "run"]
            print(f"again       {len(runs)} batches: the value is fresh")


if __name__ == "__main__":
    asyncio.run(main())
