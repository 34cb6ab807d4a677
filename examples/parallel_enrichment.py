"""
One lookup, three enrichments beside each other, and what became of them joined. In memory.

    python examples/parallel_enrichment.py

prints::

    vessel: MV Ada, 9 knots, bound for Lisbon
    news: nothing (the newsroom is away)
    weather: nothing (not waited for)
    run: succeeded
"""

import asyncio
import logging
from dataclasses import dataclass

from flowstone import Dep, FlowStone, Pipeline
from flowstone.plugins.parallel import Branch, Failed, Ok, Outcome, Skipped, parallel

vessels = Pipeline("vessels")


@dataclass(frozen=True)
class Vessel:
    name: str
    mmsi: int


@vessels.asset
async def vessel() -> Vessel:
    """What all branches start from, so that it is computed once."""
    return Vessel("MV Ada", 211_000_001)


@vessels.asset
async def position(vessel: Vessel = Dep(vessel)) -> int:
    """The first step of a branch; nobody else needs it."""
    return vessel.mmsi % 10 + 8


@vessels.asset
async def voyage(vessel: Vessel = Dep(vessel), knots: int = Dep(position)) -> str:
    """What the join cannot do without."""
    return f"{vessel.name}, {knots} knots, bound for Lisbon"


@vessels.asset
async def news(vessel: Vessel = Dep(vessel)) -> list[str]:
    """One that fails, which the run survives."""
    raise LookupError("the newsroom is away")


@vessels.asset
async def weather() -> str:
    """One that takes for ever; it is stopped when the others have ended."""
    await asyncio.Event().wait()
    return "fair"


def shown(outcome: Outcome[list[str]] | Outcome[str]) -> str:
    """Say what became of a branch."""
    match outcome:
        case Ok(value):
            return str(value)
        case Failed(error):
            return f"nothing ({error.rpartition(': ')[2]})"
        case Skipped(reason):
            return f"nothing ({reason})"


@vessels.asset
@parallel(failure_mode="partial", timeout="30m")
async def enriched(
    voyage: str = Branch(voyage),
    news: Outcome[list[str]] = Branch(news, required=False, timeout="5m"),
    weather: Outcome[str] = Branch(weather, required=False, wait=False),
) -> dict[str, str]:
    """The join: called once, when the branches that it waits for have ended."""
    return {"vessel": voyage, "news": shown(news), "weather": shown(weather)}


async def main() -> None:
    """Compute it here and now."""
    logging.getLogger("flowstone.asset").setLevel(logging.CRITICAL)
    async with FlowStone(vessels) as app:
        handle = await app.enqueue(enriched)
        for name, value in (await app.finish(handle)).items():
            print(f"{name}: {value}")
        print(f"run: {(await handle.wait()).status}")


asyncio.run(main())
