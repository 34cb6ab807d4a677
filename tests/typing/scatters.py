"""The function of a scatter takes its items; its value is what ``gather`` makes of the results."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_type

from flowstone import Asset, Dep, Pipeline, Skip, reader
from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.function_reader import function_reader
from flowstone.plugins.scatter import ItemError, Results, Scattered, scatter

sales = Pipeline("sales")


@dataclass(frozen=True)
class Doc:
    key: str


@dataclass(frozen=True)
class Page:
    number: int = 0


@sales.asset
def prefix() -> str:
    return "2024/"


@sales.asset
async def names() -> list[str]:
    return ["a"]


def documents(prefix: str = Dep(prefix)) -> ItemSource[Doc]:
    return reader("documents", prefix=prefix, max_items=10)


async def yielded() -> AsyncIterator[Doc]:
    yield Doc("a")


def numbers() -> Iterator[int]:
    yield 1


def key_of(doc: Doc) -> str:
    return doc.key


async def total(results: Results[object, int]) -> float:
    async for it in results:
        assert_type(it.value, int)
        assert_type(it.error, ItemError | None)
    async for value in results.values():
        assert_type(value, int)
    return 1.0


def keys(results: Results[Doc, object]) -> list[str]:
    return [it.item.key for it in results.failed()]


async def by_page(results: Results[str, int]) -> dict[str, int]:
    return {it.item: it.value async for page in results.pages() for it in page.completed}


@sales.asset
@scatter(documents, gather=keys, max_concurrent=50, rate_limit="10/s", failure_mode="partial")
async def parsed(doc: Doc) -> int:
    return len(doc.key)


@sales.asset
@scatter(documents, select=key_of, gather=by_page, mode="distributed")
async def sizes(key: str, prefix: str = Dep(prefix)) -> int | Skip:
    return len(key + prefix)


@sales.asset(queue="etl")
@scatter(yielded, key=key_of)
def counted(doc: Doc) -> None: ...


@sales.asset
@scatter(names, gather=total)
async def of_an_asset(name: str) -> int:
    return len(name)


@sales.asset
@scatter([1, 2], max_attempts=2)
async def listed(number: int) -> str:
    return str(number)


assert_type(Dep(parsed), list[str])
assert_type(Dep(sizes), dict[str, int])
assert_type(Dep(counted), Scattered)
assert_type(Dep(of_an_asset), float)
assert_type(Dep(listed), Scattered)


async def calls() -> None:
    asset: Asset[..., float, Any] = of_an_asset
    print(asset)
    # As much of it as its gather wants to know.
    assert_type(await parsed(Doc("a")), object)
    assert_type(await of_an_asset("a"), int)
    assert_type(await listed(1), str)
    counted(Doc("a"))

    await parsed("a")  # E:
    await sizes("a", 2)  # E:
    counted()  # E:


@sales.asset
async def consumer(found: list[str] = Dep(parsed), count: Scattered = Dep(listed)) -> None: ...


@sales.asset
async def wrong_consumer(found: int = Dep(parsed)) -> None: ...  # E:


@scatter(documents)  # E:
async def other_items(item: str) -> None: ...


@scatter(documents, select=key_of)  # E:
async def not_selected(doc: Doc) -> None: ...


@scatter([1, 2])  # E:
async def other_numbers(number: str) -> None: ...


@scatter(names)  # E:
async def other_values(number: int) -> None: ...


@scatter(documents, gather=total)  # E:
async def other_results(doc: Doc) -> str:
    return doc.key


@scatter(numbers, gather=keys)  # E:
async def other_gathered(number: int) -> int:
    return number


scatter(numbers, key=key_of)  # E:
scatter(numbers, select=key_of)  # E:
scatter(numbers, mode="parallel")  # E:
scatter(numbers, failure_mode="some")  # E:
scatter(numbers, max_concurent=3)  # E:
scatter(numbers, rate_limit=10)  # E:
scatter(3)  # E:
reader()  # E:
reader(3)  # E:
reader(Doc)  # E:


class Pages(ItemReader[Page]):
    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> Page:
        return Page()

    async def read(self, state: Page, limit: int) -> Read[Page]:
        return Read([Doc("a")], replace(state, number=state.number + 1), is_last=True)


class OtherState(ItemReader[Page]):
    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> int:  # E:
        return 1

    async def read(self, state: Page, limit: int) -> Read[int]:  # E:
        return Read([], 1)


assert_type(reader(Pages), ItemSource[Any])
assert_type(reader(Pages(), page_size=10), ItemSource[Any])


def first(config: Mapping[str, object], deps: Mapping[str, object]) -> Page:
    return Page()


async def read(state: Page, limit: int) -> Read[Page]:
    return Read([], state)


def read_numbers(state: int, limit: int) -> Read[int]:
    return Read([], state)


assert_type(function_reader(init=first, read=read), ItemReader[Page])
function_reader(init=first, read=read_numbers)  # E:
function_reader(init=first)  # E:
