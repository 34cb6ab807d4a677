"""A batched function takes batches of the scatter's items; ``input=`` is what they share."""

from typing import Any, assert_type

from flowstone import Asset, Pipeline
from flowstone.plugins.scatter import Batch, Results, batch, scatter

sales = Pipeline("sales")


class Shared: ...


async def shared() -> Shared:
    return Shared()


def number() -> int:
    return 1


def names() -> list[str]:
    return ["a"]


async def total(results: Results[object, int]) -> float:
    return sum([it.value async for it in results])


@sales.asset
@scatter(names, gather=total)
@batch(max_items=20, input=shared)
async def embedded(b: Batch[str, Shared]) -> int:
    assert_type(b.input, Shared)
    for item in b:
        assert_type(item, str)
    return len(b)


@sales.asset
@scatter(names)
@batch(input=number)
def by_number(b: Batch[str, int]) -> int:
    return b.input


@sales.asset
@scatter(names)
@batch(input=3)
def by_value(b: Batch[str, int]) -> None: ...


@sales.asset
@scatter(names)
@batch()
def plain(b: Batch[str, None]) -> None:
    assert_type(b.count, int | None)


async def calls() -> None:
    asset: Asset[..., float, Any] = embedded
    print(asset)
    assert_type(await embedded(Batch(["a"], Shared())), int)
    assert_type(by_number(Batch(["a"], 1)), int)
    assert_type(Batch(["a"]), Batch[str, None])
    plain(Batch(["a"]))

    await embedded(Batch(["a"]))  # E:
    await embedded(Batch([1], Shared()))  # E:


@batch(input=shared)  # E:
def wrong_input(b: Batch[str, int]) -> None: ...


@batch(max_items="20")  # E:
def wrong_option(b: Batch[str, None]) -> None: ...


@batch()  # E:
def no_batch(item: str) -> None: ...


@scatter(names)  # E:
@batch()
def other_items(b: Batch[int, None]) -> None: ...
