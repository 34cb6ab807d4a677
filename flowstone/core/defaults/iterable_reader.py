"""The item reader of what is in memory already, or comes by itself: lists and iterators."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError

Items: TypeAlias = Sequence[object] | Iterator[object] | AsyncIterator[object]


@dataclass(frozen=True, slots=True)
class IterableState:
    """What is read, and how much of a list was."""

    items: Items
    position: int = 0


class IterableReader(ItemReader[IterableState]):
    """
    Reads ``items``: a list or any (async) iterable.

    It has no checkpoint: who is asked for the items again may give others, so reading begins anew.
    A plain iterator is asked in a thread, for it may block.
    """

    contract_version = "1.0.0"
    kept_functions = frozenset({"items"})

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> IterableState:
        """Return the state before the first item."""
        match config:
            case {"items": items, **rest} if not rest:
                pass
            case _:
                raise InvalidOptionError(
                    f"the reader of items takes items=[…], not {', '.join(config) or 'nothing'}"
                )
        if isinstance(items, Sequence) and not isinstance(items, str | bytes):
            return IterableState(items)
        if isinstance(items, AsyncIterable):
            return IterableState(aiter(items))
        if isinstance(items, Iterable) and not isinstance(items, str | bytes | Mapping):
            return IterableState(iter(items))
        raise InvalidOptionError(f"items={items!r} must be a list or an (async) iterator")

    async def read(self, state: IterableState, limit: int) -> Read[IterableState]:
        """Return the next items."""
        items = state.items
        if isinstance(items, Sequence):
            end = min(state.position + limit, len(items))
            # No slice: there are sequences that give none, such as a deque.
            found = [items[at] for at in range(state.position, end)]
            return Read(found, replace(state, position=end), is_last=end == len(items))
        if isinstance(items, AsyncIterator):
            found = []
            async for item in items:
                found.append(item)
                if len(found) == limit:
                    break
        else:
            found = await asyncio.to_thread(_next, items, limit)
        return Read(found, state, is_last=len(found) < limit)

    async def count(self, state: IterableState) -> int | None:
        """Return the length of a list."""
        return len(state.items) if isinstance(state.items, Sequence) else None

    async def close(self, state: IterableState) -> None:
        """Let a generator run its ``finally``."""
        if (aclose := getattr(state.items, "aclose", None)) is not None:
            await aclose()
        elif (close := getattr(state.items, "close", None)) is not None:
            await asyncio.to_thread(close)


def _next(items: Iterator[object], limit: int) -> list[object]:
    return list(islice(items, limit))
