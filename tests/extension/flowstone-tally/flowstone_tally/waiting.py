"""The strategy: an asset that waits for a tally, and the decorator that makes one."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flowstone import Definition
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake

P = ParamSpec("P")
T = TypeVar("T")


class Tally(Strategy):
    """Waits until so many were counted, then calls the function with how many there are."""

    def __init__(self, name: str, at_least: int) -> None:
        self.name = name
        self.at_least = at_least

    async def start(self, execution: Execution) -> Outcome:
        state = {"name": self.name, "at_least": self.at_least}
        return Waiting(f"tally:{self.name}:{self.at_least}", state)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(await execution.call(counted=wake.payload))


def tally(name: str, *, at_least: int) -> Callable[[Callable[P, T]], Definition[P, T]]:
    """Compute the asset once the tally has reached a number; it is given as ``counted``."""

    def define(function: Callable[P, T]) -> Definition[P, T]:
        strategy = Tally(name, at_least)
        return Definition(function, strategy=strategy, supplied=("counted",))

    return define
