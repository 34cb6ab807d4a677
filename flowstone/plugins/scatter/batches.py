"""
What the body of a batched scatter is given: some items at once, and what all batches share.

::

    @batch(max_items=20, input=shared, on_item_error="collect_errors")
    async def embedded(b: Batch[DocKey, Shared]) -> int:
        for doc in b:
            with b.item(doc):              # what is raised here is this document's error
                await embed(doc, b.input.model)
        return len(b) - len(b.errors)

In a unit test one is made by hand: ``await embedded(Batch([DocKey("a")], Shared("small")))``.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

from flowstone.core.error_record import MESSAGE_BYTES, harmless, shorten, type_name
from flowstone.core.errors import FlowStoneError
from flowstone.core.errors.root import printable, reason_text
from flowstone.core.json_value import JsonValue

I_co = TypeVar("I_co", covariant=True)
N_co = TypeVar("N_co", covariant=True)

ITEM_MESSAGE_BYTES = MESSAGE_BYTES // 4
"""Of the message of each item's error: a batch may have thousands."""


class ItemFailedError(FlowStoneError):
    """An item of a batch failed."""

    code = "item_failed"


class Batch(Generic[I_co, N_co]):
    """
    Some items, with what all batches of the scatter share.

    Attributes:
        items: The items.
        input: What ``input=`` gave, evaluated once for the whole scatter; None without it.
        index: The batch's place among all of the scatter, from 0.
        count: How many batches there are; None while items are still being read.
        errors: Of the items that failed, by their place in ``items``.
    """

    __slots__ = ("_collects_errors", "count", "errors", "index", "input", "items")

    @overload
    def __init__(
        self: "Batch[I_co, None]",
        items: Sequence[I_co],
        input: None = None,
        *,
        index: int = 0,
        count: int | None = None,
        collects_errors: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        items: Sequence[I_co],
        input: N_co,
        *,
        index: int = 0,
        count: int | None = None,
        collects_errors: bool = False,
    ) -> None: ...
    def __init__(
        self,
        items: Sequence[I_co],
        input: object = None,
        *,
        index: int = 0,
        count: int | None = None,
        collects_errors: bool = False,
    ) -> None:
        self.items = tuple(items)
        self.input: N_co = input  # type: ignore[assignment]  # as the overloads say
        self.index = index
        self.count = count
        self.errors: dict[int, BaseException] = {}
        self._collects_errors = collects_errors

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[I_co]:
        return iter(self.items)

    def __repr__(self) -> str:
        of = "" if self.count is None else f" of {self.count}"
        return f"<batch {self.index}{of}, {len(self.items)} items>"

    @property
    def key(self) -> dict[str, JsonValue]:
        """The key that the batch has among those of the scatter."""
        return batch_key(self.index, len(self.items))

    def item(self, item: object) -> "ItemBlock":
        """
        Do what concerns one item, in a ``with`` block.

        With ``on_item_error="collect_errors"`` an exception is noted as the item's and ends the
        block only. Otherwise it goes on, and names the item.

        Raises:
            ValueError: It is no item of the batch.
        """
        return ItemBlock(self, self._place(item))

    def fail(self, item: object, reason: object) -> None:
        """
        Say that one item failed, where nothing was raised: an API has answered so.

        Args:
            reason: An exception, or words.

        Raises:
            ItemFailedError: Errors of items are not collected, so that the batch fails.
            ValueError: It is no item of the batch.
        """
        with self.item(item):
            if isinstance(reason, Exception):
                raise reason
            raise ItemFailedError(reason_text(reason))

    def take_error(self, place: int, error: Exception) -> bool:
        """Note the error of the item at a place, if errors are collected; say whether they are."""
        if self._collects_errors:
            self.errors[place] = error
        else:
            error.add_note(f"at item {place} of {len(self.items)} in batch {self.index}")
        return self._collects_errors

    def require_one(self) -> None:
        """
        Do nothing unless every item failed: such a batch has failed too.

        Raises:
            ItemFailedError: Every one did.
        """
        if self.items and len(self.errors) == len(self.items):
            first = self.errors[0]
            raise ItemFailedError(
                f"each of the {len(self.items)} items failed, the first with {reason_text(first)}"
            ) from first

    def error_records(self) -> list[JsonValue]:
        """Return what is kept of the items' errors: ``index``, ``type`` and ``message`` of each."""
        return [
            {
                "index": place,
                "type": type_name(error),
                "message": shorten(harmless(printable(error)), ITEM_MESSAGE_BYTES),
            }
            for place, error in sorted(self.errors.items())
        ]

    def _place(self, item: object) -> int:
        for place, it in enumerate(self.items):
            if it is item:
                return place
        return self.items.index(item)


class ItemBlock:
    """What `Batch.item` gives."""

    def __init__(self, batch: Batch[object, object], place: int) -> None:
        self._batch = batch
        self._place = place

    def __enter__(self) -> None:
        return None

    # bool, so that a type checker knows that what comes after the block may be reached.
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        return self._batch.take_error(self._place, error)


def batch_key(index: int, item_count: int) -> dict[str, JsonValue]:
    """Return the key of a batch, which takes the place of its items' keys."""
    return {"_batch": True, "index": index, "item_count": item_count}
