"""A plugin's decorator below ``@pipeline.asset`` decides the asset's value, and keeps the call."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, assert_type

from flowstone import Definition, Dep, Pipeline, Skip
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Wake
from flowstone.core.source import Edge, Source, Upstream

P = ParamSpec("P")
I = TypeVar("I")
R = TypeVar("R")
G = TypeVar("G")
T = TypeVar("T")


class Each(Strategy):
    async def start(self, execution: Execution) -> Outcome:
        return Stored(await execution.call(item=1))

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


def each(
    items: Callable[..., Iterable[I]], *, gather: Callable[[list[R]], Awaitable[G]]
) -> Callable[
    [Callable[Concatenate[I, P], Coroutine[Any, Any, R]]],
    Definition[Concatenate[I, P], G, Coroutine[Any, Any, R]],
]:
    """Run the function once for each item, and make the value of all results."""

    def decorate(
        function: Callable[Concatenate[I, P], Coroutine[Any, Any, R]],
    ) -> Definition[Concatenate[I, P], G, Coroutine[Any, Any, R]]:
        return Definition(
            function,
            strategy=Each(),
            phases={"items": items, "gather": gather},
            supplied=1,
            value_phase="gather",
        )

    return decorate


def counted(function: Callable[P, object]) -> Definition[P, int]:
    """Two type arguments are enough where the direct call does not matter."""
    return Definition(function, strategy=Each(), value_type=int)


class FirstOfSource(Source):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def edges(self) -> Sequence[Edge]:
        return [Edge(name, optional=True) for name in self.names]

    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        return next((it.value for it in upstreams if it.has_value), Skip())


sales = Pipeline("sales")


@sales.asset
def urls() -> list[str]:
    return ["a"]


def items(found: list[str] = Dep(urls)) -> list[str]:
    return found


async def gather(results: list[int]) -> dict[str, int]:
    return {"sum": sum(results)}


@sales.asset
@each(items, gather=gather)
async def lengths(item: str, found: list[str] = Dep(urls)) -> int:
    return len(item) + len(found)


@sales.asset(queue="etl")
@each(items, gather=gather)
async def with_options(item: str) -> int:
    return len(item)


@sales.asset
@counted
async def how_many() -> str:
    return ""


assert_type(Dep(lengths), dict[str, int])
assert_type(Dep(with_options), dict[str, int])
assert_type(Dep(how_many), int)


async def calls() -> None:
    assert_type(await lengths("a", ["b"]), int)
    await lengths(1)  # E:


@sales.asset
async def consumer(base: dict[str, int] = Dep(lengths), count: int = Dep(how_many)) -> None: ...


@sales.asset
async def wrong_consumer(base: int = Dep(lengths)) -> None: ...  # E:


@sales.asset
@each(items, gather=gather)  # E:
async def wrong_item(item: int) -> int:
    return item


@sales.asset
@each(items, gather=gather)  # E:
async def wrong_result(item: str) -> str:
    return item
