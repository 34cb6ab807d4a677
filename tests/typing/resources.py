"""A resource is typed by the class it is asked for by, abstract ones and protocols included."""

from abc import ABC, abstractmethod
from typing import Protocol, assert_type

from flowstone import Pipeline, Requires

sales = Pipeline("sales")


class Shop:
    def __init__(self, url: str) -> None:
        self.url = url


class Warehouse(ABC):
    @abstractmethod
    def rows(self) -> int: ...


class Clock(Protocol):
    def now(self) -> float: ...


assert_type(Requires(Shop), Shop)
assert_type(Requires(Warehouse), Warehouse)
assert_type(Requires(Clock), Clock)


@sales.asset
def report(
    shop: Shop = Requires(Shop),
    warehouse: Warehouse = Requires(Warehouse),
    clock: Clock = Requires(Clock),
) -> float:
    return warehouse.rows() + clock.now()


@sales.asset
def wrong(shop: Shop = Requires(Warehouse)) -> None: ...  # E:


Requires("shop")  # E:
