"""
How the items of a scatter come to its barrier: read page by page, each inserted with its position.

The first items start while the rest is read. A page and the position after it are written together,
so that reading goes on from there when whoever reads is lost; later claims refuse earlier ones.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.strategy import Execution
from flowstone.core.json_value import JsonValue
from flowstone.plugins.scatter.batched_pages import BatchedPages
from flowstone.plugins.scatter.batching import Batching
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.records import (
    BarrierState,
    Feed,
    Inserted,
    NewItem,
)


@dataclass(frozen=True, slots=True)
class ItemRules:
    """
    What an item becomes before it is inserted.

    Attributes:
        select: From what was read to the item; None leaves it as it is.
        key: From the item to its key; None: it is its own.
    """

    select: Callable[[object], object] | None = None
    key: Callable[[object], object] | None = None

    def chosen(self, read: object) -> object:
        """Return the item that is made of what was read."""
        return read if self.select is None else self.select(read)

    def stored(self, chosen: object, codec: Codec) -> NewItem:
        """
        Return the item to insert.

        Raises:
            InvalidItemKeyError: Its key is no JSON.
            ValueNotStorableError: The item cannot be kept.
        """
        text = codec.encode(chosen)
        if type(chosen) is int and self.key is None:
            return NewItem.of(text, chosen)
        keyed = text if self.key is None else codec.encode(self.key(chosen))
        return NewItem.of(text, json.loads(keyed))

    def page(self, read: Sequence[object], codec: Codec) -> list[NewItem]:
        """Return a page of items to insert."""
        return [self.stored(self.chosen(it), codec) for it in read]


class Feeding:
    """Reads the items of one barrier, under one claim; `run` it once."""

    def __init__(
        self,
        execution: Execution,
        coordinator: ScatterCoordinator,
        rules: ItemRules,
        feed: Feed,
        told: Callable[[Inserted], None],
        batching: Batching | None = None,
    ) -> None:
        self._execution = execution
        self._coordinator = coordinator
        self._rules = rules
        self._feed = feed
        self._told = told
        self._batching = batching

    async def run(self) -> BarrierState:
        """
        Read to the end, and return where the barrier then stands.

        Raises:
            FlowStoneError: The items could not be read, or one of them cannot be kept.
        """
        # Any: what it is, the reading says.
        source: Any = await self._execution.call_phase("items")
        progress = None if self._feed.progress is None else json.loads(self._feed.progress)
        size, most = self._feed.options.batch_size, self._feed.options.max_batches
        batched = None if self._batching is None else await self._batched(self._batching)
        async with self._execution.read_items(
            source, phase="items", progress=progress, page_size=size
        ) as pages:
            async for page in pages:
                is_enough = most is not None and page.index + 1 >= most and bool(page.items)
                is_last = page.is_last or is_enough
                if batched is None:
                    inserted = await self._insert(
                        self._rules.page(page.items, self._execution.codec),
                        page.progress,
                        closes=is_last,
                        expected_total=pages.total,
                    )
                else:
                    # No lazy map: a StopIteration of `select` would end it as if that were all.
                    chosen = [self._rules.chosen(it) for it in page.items]
                    full = await batched.page(chosen, page.progress, is_last=is_last)
                    inserted = await self._insert(
                        full.batches, full.progress, closes=is_last, batched=full.hashes
                    )
                if is_enough or inserted.is_superseded or inserted.state.is_terminal:
                    return inserted.state
                # What runs shares the event loop with whoever reads.
                await asyncio.sleep(0)
        # A reader that was resumed at its end has no further page.
        return (await self._insert([], None, closes=True)).state

    async def _batched(self, batching: Batching) -> BatchedPages:
        barrier_id = self._execution.materialization_id
        stored = await self._coordinator.status(barrier_id)
        codec = self._execution.codec
        return BatchedPages(
            batching,
            new_item=lambda chosen: self._rules.stored(chosen, codec),
            known=lambda hashes: self._coordinator.known(barrier_id, hashes),
            index=stored.total,
        )

    async def _insert(
        self,
        items: Sequence[NewItem],
        progress: Mapping[str, JsonValue] | None,
        *,
        closes: bool,
        expected_total: int | None = None,
        batched: Sequence[bytes] = (),
    ) -> Inserted:
        inserted = await self._coordinator.insert(
            self._execution.materialization_id,
            items,
            closes=closes,
            claim=self._execution.claim,
            progress=None if progress is None else json.dumps(dict(progress)),
            expected_total=expected_total,
            batched=batched,
        )
        self._told(inserted)
        return inserted
