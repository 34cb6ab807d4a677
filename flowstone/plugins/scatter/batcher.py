"""
Items put together into batches as they come, with a bounded number of them held back.

A batch is given out as soon as it is full. What is not full waits for more items, but never
`MOST_ITEMS` of them in all: then the group that has waited longest is given out as it is.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from flowstone.core.errors import ValidationFailedError
from flowstone.core.errors.root import reason_text
from flowstone.plugins.scatter.batching import MOST_ITEMS, Batching

T = TypeVar("T")


class BatchingError(ValidationFailedError):
    """A function of ``@batch`` gave what it should not."""

    code = "batching_error"


class _Open(Generic[T]):
    """A batch that is not full."""

    __slots__ = ("bytes", "first", "items")

    def __init__(self, first: int) -> None:
        self.first = first
        self.items: list[T] = []
        self.bytes = 0


class Batcher(Generic[T]):
    """
    Puts items together by the rules.

    Attributes:
        added: How many items came.
        held: How many of them are in no batch yet.
    """

    def __init__(self, batching: Batching, *, most_held: int = MOST_ITEMS) -> None:
        self._batching = batching
        self._most_held = most_held
        # In the order in which they were begun: the first one holds the oldest item.
        self._open: dict[Hashable, _Open[T]] = {}
        self.added = 0
        self.held = 0

    @property
    def complete(self) -> int:
        """How many items, counted from the first, are in batches that were given out."""
        return next((it.first for it in self._open.values()), self.added)

    def add(self, items: Iterable[T]) -> list[list[T]]:
        """
        Take items and return the batches that are full now.

        Raises:
            BatchingError: A function of the rules raised, or gave what it should not.
        """
        given: list[list[T]] = []
        for item in items:
            self._add(item, given)
            self.added += 1
            if self.held >= self._most_held:
                given.extend(self._give(next(iter(self._open))))
        return given

    def close(self) -> list[list[T]]:
        """Return what is left, the oldest first."""
        return [it for group in list(self._open) for it in self._give(group)]

    def _add(self, item: T, given: list[list[T]]) -> None:
        rules = self._batching
        group = None if rules.group_by is None else self._group_of(item)
        bytes_ = 0 if rules.size is None else self._size_of(item)
        limit = rules.max_bytes
        current = self._open.get(group)
        if current is not None and limit is not None and current.bytes + bytes_ > limit:
            given.extend(self._give(group))
            current = None
        if current is None:
            current = self._open[group] = _Open(self.added)
        current.items.append(item)
        current.bytes += bytes_
        self.held += 1
        is_full = rules.split is None and len(current.items) == rules.most
        if is_full or (limit is not None and bytes_ >= limit):
            given.extend(self._give(group))

    def _give(self, group: Hashable) -> list[list[T]]:
        items = self._open.pop(group).items
        self.held -= len(items)
        return [items] if self._batching.split is None else self._split(items)

    def _group_of(self, item: T) -> Hashable:
        assert self._batching.group_by is not None
        try:
            group = self._batching.group_by(item)
            hash(group)
        except Exception as error:
            raise self._failed("group_by", item, error) from error
        return group

    def _size_of(self, item: T) -> int:
        assert self._batching.size is not None
        try:
            size = self._batching.size(item)
        except Exception as error:
            raise self._failed("size", item, error) from error
        if not isinstance(size, int) or size < 0:
            raise BatchingError(f"@batch: size gave {size!r}, no number of bytes, for {item!r}")
        return size

    def _split(self, items: list[T]) -> list[list[T]]:
        assert self._batching.split is not None
        try:
            given: Sequence[Sequence[T]] = self._batching.split(list(items))
            batches = [list(it) for it in given]
        except Exception as error:
            raise BatchingError(f"@batch: split failed: {reason_text(error)}") from error
        came = Counter(id(it) for it in items)
        gone = Counter(id(it) for batch in batches for it in batch)
        if came != gone:
            lost, twice = len(came - gone), len(gone - came)
            raise BatchingError(
                f"@batch: split was given {len(items)} items; it left out {lost} and returned "
                f"{twice} that it was not given or had returned before. Each item belongs in one "
                "batch: leave items out where they come from"
            )
        return [it for it in batches if it]

    def _failed(self, function: str, item: T, error: Exception) -> BatchingError:
        return BatchingError(f"@batch: {function} failed for {item!r}: {reason_text(error)}")
