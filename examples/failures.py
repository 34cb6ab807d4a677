"""
What fails, what is tried again, and what goes on without it. In memory.

    python examples/failures.py

prints::

    attempt 1: the service is away
    attempt 2: the service is away
    rates: 1.08 after 3 attempts
    run 2 failed: shop.prices: Asset execution failed: ValueError: no price for 'tea'
    catalog: upstream_failed
    retry: reuse shop.rates, run shop.prices, run shop.catalog
    catalog: {'tea': 4.32}
"""

import asyncio
import logging

from flowstone import Context, Dep, FlowStone, Pipeline, Retry, RunFailedError

PRICES: dict[str, float] = {}

shop = Pipeline("shop", timeout="10s")


# Without retry= only errors that say so of themselves are tried again: lost connections, timeouts.
@shop.asset(retry=Retry(5, base="1ms", on=ConnectionError))
async def rates(ctx: Context) -> float:
    """From a service that is away at first."""
    if ctx.attempt < 3:
        print(f"attempt {ctx.attempt}: the service is away")
        raise ConnectionError("the service is away")
    print(f"rates: 1.08 after {ctx.attempt} attempts")
    return 1.08


@shop.asset
async def prices() -> dict[str, float]:
    """A failure by whoever has to mend it; trying again would not help."""
    if "tea" not in PRICES:
        raise ValueError("no price for 'tea'")
    return dict(PRICES)


@shop.asset
async def catalog(
    rates: float = Dep(rates), prices: dict[str, float] = Dep(prices)
) -> dict[str, float]:
    """Needs both; what one of them lacks, it lacks."""
    return {name: round(price * rates, 2) for name, price in prices.items()}


app = FlowStone(shop)


async def main() -> None:
    """Fail, look, mend, and repeat only what is missing."""
    logging.getLogger("flowstone.asset").setLevel(logging.CRITICAL)  # the tracebacks are printed
    async with app:
        await app.run(rates)
        try:
            await app.run(catalog)
        except RunFailedError as error:
            (failure,) = error.failures
            print(f"run {error.run_id} failed: {failure}")
        stood = await app.status(catalog)
        assert stood.latest is not None
        print(f"catalog: {stood.latest.status}")

        PRICES["tea"] = 4.0
        decisions = await app.plan(catalog)
        print("retry:", ", ".join(f"{it.action} {it.key.asset}" for it in decisions))
        again = await app.retry(stood.latest.run_id)
        print("catalog:", await app.finish(again))


if __name__ == "__main__":
    asyncio.run(main())
