"""
Pages of items turned into pages of batches, such that a reader that stops half-way loses nothing.

A batch may take items of several pages, so the progress that belongs to a page of batches is that
of the last page of items all of which are in batches by then. Whoever goes on from it reads some
items again; items that are in a batch already, of this time or an earlier one, are left out.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from flowstone.core.json_value import JsonText, JsonValue
from flowstone.plugins.scatter.batcher import Batcher
from flowstone.plugins.scatter.batches import batch_key
from flowstone.plugins.scatter.batching import Batching
from flowstone.plugins.scatter.records import NewItem

Known: TypeAlias = Callable[[list[bytes]], Awaitable[Collection[bytes]]]
"""Of hashes of keys, those of items that are in a stored batch."""


@dataclass(frozen=True, slots=True)
class BatchPage:
    """
    Batches to be stored together.

    Attributes:
        batches: As items of the scatter; may be none: the items wait for more.
        hashes: Of the keys of the items in these batches, to be known from then on.
        progress: To be stored with them: everything before it is in batches. None is: as before.
    """

    batches: list[NewItem]
    hashes: list[bytes]
    progress: Mapping[str, JsonValue] | None


class BatchedPages:
    """
    Makes pages of batches out of one reader's pages.

    Args:
        new_item: Of an item, what it would be stored as by itself.
        known: Asks for what an earlier reader has stored.
        index: Of the next batch.
    """

    def __init__(
        self,
        batching: Batching,
        *,
        new_item: Callable[[object], NewItem],
        known: Known,
        index: int,
    ) -> None:
        self._batcher = Batcher[object](batching)
        self._new_item = new_item
        self._known = known
        self._index = index
        # What the batcher holds back, by identity: it hands out the very objects.
        self._held: dict[int, NewItem] = {}
        self._pending: deque[tuple[int, Mapping[str, JsonValue]]] = deque()

    async def page(
        self, items: Iterable[object], progress: Mapping[str, JsonValue], *, is_last: bool
    ) -> BatchPage:
        """
        Take a page of items and return the batches that are full now, of the last page all.

        Raises:
            BatchingError: A function of the rules failed.
        """
        batches = self._batcher.add(await self._new(items))
        if is_last:
            batches += self._batcher.close()
        self._note(progress)
        stored = [[self._held.pop(id(item)) for item in batch] for batch in batches]
        hashes = [it.key_hash for batch in stored for it in batch]
        return BatchPage([self._row(it) for it in stored], hashes, self._progress())

    def _row(self, batch: list[NewItem]) -> NewItem:
        key = batch_key(self._index, len(batch))
        self._index += 1
        return NewItem.of(_listed(it.item for it in batch), key)

    async def _new(self, items: Iterable[object]) -> list[object]:
        """Return the items that are in no batch yet, each once, and hold them."""
        waiting = {it.key_hash for it in self._held.values()}
        fresh: dict[bytes, tuple[object, NewItem]] = {}
        for item in items:
            new = self._new_item(item)
            if new.key_hash not in waiting:
                fresh.setdefault(new.key_hash, (item, new))
        if fresh:
            for hash_ in await self._known(list(fresh)):
                fresh.pop(hash_, None)
        self._held.update((id(item), new) for item, new in fresh.values())
        return [item for item, _ in fresh.values()]

    def _note(self, progress: Mapping[str, JsonValue]) -> None:
        added = self._batcher.added
        if self._pending and self._pending[-1][0] == added:
            self._pending.pop()  # pages without items may be many
        self._pending.append((added, progress))

    def _progress(self) -> Mapping[str, JsonValue] | None:
        progress = None
        while self._pending and self._pending[0][0] <= self._batcher.complete:
            progress = self._pending.popleft()[1]
        return progress


def _listed(texts: Iterable[JsonText]) -> JsonText:
    return f"[{','.join(texts)}]"
