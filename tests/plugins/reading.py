"""Reading to the end, as a scatter does, with a crash after any page."""

import json
from collections.abc import Mapping
from typing import Any

from flowstone import reader
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.item_pages import ItemPage
from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.item_reading import ItemReading
from flowstone.core.registries import in_memory
from flowstone.core.telemetry import Telemetry

Kept = Mapping[str, Any] | None


async def pages_of(
    of: ItemReader[Any] | type[ItemReader[Any]],
    config: Mapping[str, Any],
    progress: Kept = None,
    upto: int = 10_000,
) -> list[ItemPage[Any]]:
    """Return the pages, from a kept progress on, but no more than some."""
    kept = None if progress is None else json.loads(json.dumps(dict(progress), allow_nan=False))
    reading = ItemReading(in_memory().readers, ErrorNormalizer(), Telemetry())
    pages: list[ItemPage[Any]] = []
    async with reading.open(reader(of, **config), progress=kept) as found:
        async for page in found:
            pages.append(page)
            if len(pages) == upto:
                break
    return pages


async def crashing_after_each_page(
    of: ItemReader[Any] | type[ItemReader[Any]], config: Mapping[str, Any]
) -> list[Any]:
    """
    Return all items, each page read by a process of its own.

    Every second page is read twice: the first time the process dies before it is kept.
    """
    items: list[Any] = []
    kept: Kept = None
    for number in range(10_000):
        [page] = await pages_of(of, config, kept, upto=1)
        if number % 2:
            [again] = await pages_of(of, config, kept, upto=1)
            assert (list(again.items), again.progress) == (list(page.items), page.progress)
        items += page.items
        kept = page.progress
        if page.is_last:
            return items
    raise AssertionError("it does not end")
