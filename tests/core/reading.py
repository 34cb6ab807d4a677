"""Reading to the end, page by page."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flowstone import reader
from flowstone.core.contracts.item_pages import ItemPage
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.item_reading import ItemReading
from flowstone.core.json_value import JsonValue
from tests.core.numbers_reader import Numbers

Progress = Mapping[str, JsonValue]


async def pages_of(
    reading: ItemReading, source: Any, progress: Progress | None = None, **options: Any
) -> list[ItemPage[Any]]:
    """Read to the end; progress crosses the border of a process."""
    kept = None if progress is None else json.loads(json.dumps(dict(progress), allow_nan=False))
    async with reading.open(source, progress=kept, **options) as pages:
        return [page async for page in pages]


def values(pages: Sequence[ItemPage[Any]]) -> list[int]:
    return [item["value"] for page in pages for item in page.items]


def numbers(upto: int = 5, **config: Any) -> ItemSource[Any]:
    return reader(Numbers, upto=upto, **config)
