"""An asset is called as the function that it was."""

import asyncio
from datetime import date
from typing import Any, assert_type

from flowstone import Asset, Config, Context, Dep, Pipeline, Requires

sales = Pipeline("sales")


class Shop: ...


class ReportConfig(Config):
    top_n: int = 10


@sales.asset
async def numbers() -> list[int]:
    return [1, 2, 3]


@sales.asset(queue="etl", retry=3, timeout="10m", priority=1)
async def report(
    ctx: Context[date],
    config: ReportConfig,
    base: list[int] = Dep(numbers),
    *,
    shop: Shop = Requires(Shop),
) -> str:
    assert_type(ctx.partition, date)
    assert_type(ctx.resource(Shop), Shop)
    return f"{config.top_n} {base} {shop}"


@sales.asset(after=[report])
def vacuumed(depth: int = Dep("depth", type=int)) -> int:
    return depth


@sales.asset()
def bare() -> None: ...


async def calls(ctx: Context[date], other: Context[int]) -> None:
    assert_type(await numbers(), list[int])
    assert_type(await report(ctx, ReportConfig(top_n=3), [1], shop=Shop()), str)
    assert_type(vacuumed(3), int)
    bare()

    await report(other, ReportConfig())  # E:
    await report(ctx, ReportConfig(topn=3))  # E:
    await report(ctx, ReportConfig(), ["x"])  # E:
    await report(ctx, ReportConfig(), [1], Shop())  # E:
    await report(ctx)  # E:
    vacuumed(deep=3)  # E:
    vacuumed("3")  # E:
    (await numbers()).upper()  # E:
    ReportConfig(3)  # E:
    ReportConfig().top_n = 3  # E:


assert_type(asyncio.run(numbers()), list[int])


def any_asset(asset: Asset[..., object]) -> str:
    return asset.full_name


def asset_of_numbers(asset: Asset[..., list[int]]) -> Asset[..., list[int]]:
    return asset


any_asset(numbers)
any_asset(bare)
any_asset(vacuumed)
asset_of_numbers(numbers)
asset_of_numbers(vacuumed)  # E:

computed = sales.asset(name="computed")(lambda: 10)
assert_type(computed(), int)


def takes_any(ctx: Context, wide: Context[Any]) -> None: ...


def narrows(ctx: Context[date]) -> None:
    takes_any(ctx, ctx)
