"""An IO manager that a test can look into, and a pipeline to keep values of."""

from typing import Any

from flowstone import Dep, Pipeline
from flowstone.core.contracts.io_manager import Address, IOManager, Written
from flowstone.core.errors import (
    NotStoredError,
)
from flowstone.core.json_value import JsonValue


class Shelf(IOManager):
    """Keeps values where a test can see them, as long as a test lets it."""

    def __init__(self, label: str = "shelf") -> None:
        self.label = label
        self.kept: dict[str, object] = {}
        self.addresses: list[Address] = []
        self.asked: list[str] = []
        self.failures: list[Exception] = []

    async def store(self, address: Address, value: object) -> Written:
        self.addresses.append(address)
        place = f"{address.asset}/{address.partition}/{len(self.addresses)}"
        self.kept[place] = value
        if self.failures:
            raise self.failures.pop(0)
        return Written(location={"place": place}, size_bytes=100)

    async def load(self, location: JsonValue, annotation: object = object) -> object:
        if self.failures:
            raise self.failures.pop(0)
        if not await self.exists(location):
            raise NotStoredError(f"{self.label} has nothing at {location}")
        return self.kept[_place(location)]

    async def exists(self, location: JsonValue) -> bool:
        self.asked.append(_place(location))
        return _place(location) in self.kept

    async def delete(self, location: JsonValue) -> None:
        self.kept.pop(_place(location), None)


def _place(location: JsonValue) -> str:
    assert isinstance(location, dict)
    return str(location["place"])


def pipeline(**options: Any) -> Pipeline:
    p = Pipeline("p")

    @p.asset(**options)
    async def base() -> dict[str, int]:
        return {"value": 1}

    @p.asset
    async def total(base: dict[str, int] = Dep(base)) -> int:
        return sum(base.values())

    return p
