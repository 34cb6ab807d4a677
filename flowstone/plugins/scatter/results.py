"""
What the items of a scatter came to, as its ``gather`` function is given it.

::

    async def to_index(results: Results[Url, Article]) -> Index:
        index = Index()
        async for it in results.completed():
            index.add(it.item, it.value)
        return index

Pages are read as they are wanted, so memory does not grow with the number of items.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flowstone.core.contracts.codec import Codec
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.records import (
    BarrierStatus,
    ChildStatus,
    ItemRecord,
    ItemStatus,
)
from flowstone.plugins.scatter.result_stream import ResultStream

I_co = TypeVar("I_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

PAGE_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class ItemError:
    """
    Why an item failed for good.

    Attributes:
        type: The exception's class, with its module unless it is a builtin.
        code: Its slug.
    """

    type: str
    message: str
    code: str


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[I_co, R_co]):
    """
    What one item came to.

    Attributes:
        index: Its place; the same in every attempt to gather.
        key: What tells it from the others, JSON.
        attempts: How often it was tried.
        error: Why it failed; None of one that has a value.
        errors: Of a batch: errors of single items in it, which did not fail it.
    """

    index: int
    item: I_co
    key: JsonValue
    attempts: int
    error: ItemError | None
    errors: Sequence[JsonValue]
    _value: R_co | None

    @property
    def value(self) -> R_co:
        """What the function returned; raises `ValueError` of one that failed."""
        if self.error is not None:
            raise ValueError(f"item {self.index} failed: {self.error.message}")
        return self._value  # type: ignore[return-value]  # None only if the function returned it


@dataclass(frozen=True, slots=True)
class Scattered:
    """
    How a scatter without ``gather`` went: the asset's value.

    Attributes:
        total: Distinct items.
    """

    total: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class ResultsPage(Generic[I_co, R_co]):
    """
    What the items of one child came to.

    Attributes:
        index: The child's place, from 0.
        completed: Those that have a value.
        failed: Those that failed for good.
    """

    index: int
    completed: Sequence[ItemResult[I_co, R_co]]
    failed: Sequence[ItemResult[I_co, R_co]]


class Results(ResultStream[ItemResult[I_co, R_co]]):
    """
    The results of a scatter that has ended; iterating gives those that completed.

    It and all that it gives may be iterated any number of times; a plain function, which runs in a
    thread, says ``for`` where an async one says ``async for``.

    Attributes:
        total: How many distinct items there were.
        completed_count: How many have a value.
        failed_count: How many failed for good.
    """

    def __init__(
        self,
        coordinator: ScatterCoordinator,
        status: BarrierStatus,
        codec: Codec,
        *,
        item_type: object = object,
        value_type: object = object,
    ) -> None:
        super().__init__(
            lambda: self._read(ItemStatus.COMPLETED),
            asyncio.get_running_loop(),
            threading.get_ident(),
        )
        self.total = status.total
        self.completed_count = status.completed
        self.failed_count = status.failed
        self._coordinator = coordinator
        self._barrier_id = status.id
        self._is_distributed = status.options.mode == "distributed"
        self._codec = codec
        self._item_type = item_type
        self._value_type = value_type

    def completed(self) -> ResultStream[ItemResult[I_co, R_co]]:
        """Give those that have a value, in the order of the items; so does iterating itself."""
        return self._stream(lambda: self._read(ItemStatus.COMPLETED))

    def failed(self) -> ResultStream[ItemResult[I_co, R_co]]:
        """Give those that failed for good, in the order of the items."""
        return self._stream(lambda: self._read(ItemStatus.FAILED))

    def all(self) -> ResultStream[ItemResult[I_co, R_co]]:
        """Give both."""
        return self._stream(lambda: self._read(ItemStatus.COMPLETED, ItemStatus.FAILED))

    def values(self) -> ResultStream[R_co]:
        """Give the values alone."""
        return self._stream(self._read_values)

    def pages(self) -> ResultStream[ResultsPage[I_co, R_co]]:
        """
        Give the results of a scatter with ``mode="distributed"`` page by page, as they were read.

        Raises:
            InvalidOptionError: It has another mode.
        """
        if not self._is_distributed:
            raise InvalidOptionError(
                'results.pages() needs to know the pages: @scatter(..., mode="distributed")'
            )
        return self._stream(self._read_children)

    def _stream(self, pages: Callable[[], AsyncIterator[Iterable[T]]]) -> ResultStream[T]:
        return ResultStream(pages, self._loop, self._loop_thread)

    async def _read(self, *statuses: ItemStatus) -> AsyncIterator[Iterable[ItemResult[I_co, R_co]]]:
        counts = {
            ItemStatus.COMPLETED: self.completed_count,
            ItemStatus.FAILED: self.failed_count,
        }
        after, left = -1, sum(counts[status] for status in statuses)
        while left > 0:
            page = await self._page(statuses, after)
            if not page:
                return
            # Decoded where it is iterated.
            yield map(self._result, page)
            after, left = page[-1].index, left - len(page)

    async def _read_values(self) -> AsyncIterator[Iterable[R_co]]:
        async for page in self._read(ItemStatus.COMPLETED):
            yield (it.value for it in page)

    async def _read_children(self) -> AsyncIterator[Iterable[ResultsPage[I_co, R_co]]]:
        last = -1
        while children := await self._coordinator.children(self._barrier_id, after=last):
            for child in children:
                records = await self._of_child(child)
                yield map(self._results_page, [child.batch_index], [records])
            last = children[-1].batch_index

    async def _of_child(self, child: ChildStatus) -> Sequence[ItemRecord]:
        found: list[ItemRecord] = []
        after = child.first_index - 1
        while len(found) < child.total:
            page = await self._page((ItemStatus.COMPLETED, ItemStatus.FAILED), after)
            own = [record for record in page if record.index <= child.last_index]
            if not own:
                break
            found += own
            after = own[-1].index
        return found

    def _results_page(self, index: int, records: Sequence[ItemRecord]) -> ResultsPage[I_co, R_co]:
        found = [*map(self._result, records)]
        return ResultsPage(
            index,
            [it for it in found if it.error is None],
            [it for it in found if it.error is not None],
        )

    async def _page(self, statuses: Sequence[ItemStatus], after: int) -> Sequence[ItemRecord]:
        return await self._coordinator.gather(
            self._barrier_id, after=after, limit=PAGE_ITEMS, statuses=statuses
        )

    def _result(self, record: ItemRecord) -> ItemResult[I_co, R_co]:
        decode = self._codec.decode
        # One that was skipped has null, whatever the type of the others is.
        text = record.result
        value = None if text is None or text == "null" else decode(text, self._value_type)
        return ItemResult(
            record.index,
            decode(record.item, self._item_type),  # type: ignore[arg-type]  # it was one
            json.loads(record.key),
            record.attempts,
            _error(record),
            () if record.errors is None else json.loads(record.errors),
            value,  # type: ignore[arg-type]  # it was one
        )


def _error(record: ItemRecord) -> ItemError | None:
    if record.status is not ItemStatus.FAILED:
        return None
    stored = json.loads(record.error or "{}")
    facts = stored if isinstance(stored, dict) else {"message": str(stored)}
    return ItemError(
        str(facts.get("type", "error")),
        str(facts.get("message", "it failed")),
        str(facts.get("code", "error")),
    )
