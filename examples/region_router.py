"""
A router selects how a region is looked up; the other ways are not taken. In memory.

    python examples/region_router.py

prints::

    33UVR is looked up as a square of the grid
    33UVR -> square 33UVR: mgrs (looks_like_mgrs)
    skipped: by_coordinates, by_name
    52.5, 13.4 is looked up as coordinates
    52.5, 13.4 -> around 52.5 north, 13.4 east: coordinates (looks_like_coordinates)
    skipped: by_mgrs, by_name
    Berlin is looked up as a name
    Berlin -> Berlin, Germany: name (by default)
    skipped: by_coordinates, by_mgrs
    ?, 13.4 is looked up as a name
    ?, 13.4 -> nowhere: name (fallback after ValueError: could not convert string to float: '?')
    skipped: by_coordinates, by_mgrs
"""

import asyncio
import re

from flowstone import Context, Dep, FlowStone, Pipeline
from flowstone.plugins.routing import FirstOf, choice, route, routed_from

PLACES = {"Berlin": "Berlin, Germany"}

regions = Pipeline("regions")


@regions.asset
def query(ctx: Context[str]) -> str:
    """What somebody typed: the partition of the run."""
    return ctx.partition


def looks_like_mgrs(query: str) -> bool:
    return re.fullmatch(r"\d{1,2}[C-X][A-Z]{2}\d*", query) is not None


def looks_like_coordinates(query: str) -> bool:
    north, comma, east = query.partition(",")
    return bool(comma) and -90 <= float(north) <= 90 and -180 <= float(east) <= 180


@regions.asset
@route(
    choice("mgrs", when=looks_like_mgrs),
    choice("coordinates", when=looks_like_coordinates),
    default="name",
    on_error="name",
)
def kind(query: str = Dep(query)) -> str:
    """Decides once in a run; a retry and a rescue find the decision."""
    return query


@regions.asset
@routed_from(kind, "mgrs")
def by_mgrs(query: str = Dep(query)) -> str:
    print(f"{query} is looked up as a square of the grid")
    return f"square {query}"


@regions.asset
@routed_from(kind, "coordinates")
def by_coordinates(query: str = Dep(query)) -> str:
    print(f"{query} is looked up as coordinates")
    north, _, east = query.partition(",")
    return f"around {north.strip()} north, {east.strip()} east"


@regions.asset
@routed_from(kind, "name")
def by_name(query: str = Dep(query)) -> str:
    print(f"{query} is looked up as a name")
    return PLACES.get(query, "nowhere")


@regions.asset
def region(found: str = FirstOf(by_mgrs, by_coordinates, by_name)) -> str:
    return found


async def main() -> None:
    async with FlowStone(regions) as app:
        for asked in ("33UVR", "52.5, 13.4", "Berlin", "?, 13.4"):
            handle = await app.enqueue(region, partition=asked)
            found = await app.finish(handle)
            print(f"{asked} -> {found}: {await app.get(kind, partition=asked)}")
            steps = await app.store.materializations(handle.run_id)
            skipped = sorted(it.key.asset.split(".")[1] for it in steps if it.status == "skipped")
            print(f"skipped: {', '.join(skipped)}")


asyncio.run(main())
