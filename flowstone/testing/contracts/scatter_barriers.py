"""What the tests of coordinators begin with: barriers, items and outcomes."""

import itertools
import json
from datetime import timedelta

from flowstone.core.json_value import JsonValue
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import (
    ItemEvent,
    ItemOutcome,
    NewBarrier,
    NewItem,
    Turned,
)

PUMP, OTHER = 10_000_001, 10_000_002
"""Pumps that no store knows as materializations: only a later claim of theirs ends an earlier."""

_ids = itertools.count(20_000_001)

PARTIAL = ScatterOptions(failure_mode="partial", failure_threshold=0.5)


def an_item(key: JsonValue) -> NewItem:
    """Return an item that is its own key."""
    return NewItem.of(json.dumps(key, separators=(",", ":")), key)


async def begun(
    coordinator: ScatterCoordinator,
    *keys: JsonValue,
    options: ScatterOptions | None = None,
    closes: bool = True,
) -> int:
    """Return the id of a new barrier with items of these keys."""
    barrier = NewBarrier(next(_ids), 1, "sales.items", "", options or ScatterOptions())
    assert await coordinator.create(barrier)
    await coordinator.insert(barrier.id, [an_item(key) for key in keys], closes=closes)
    return barrier.id


def outcomes_of(turned: Turned, event: ItemEvent = ItemEvent.COMPLETED) -> list[ItemOutcome]:
    """Return outcomes of all that was handed out."""
    handed = turned.handed
    return [
        ItemOutcome(chunk_id, index, attempts, event, json.dumps(index), delay=timedelta(0))
        for chunk_id, index, attempts in zip(
            handed.chunk_ids, handed.indexes, handed.attempts, strict=True
        )
    ]
