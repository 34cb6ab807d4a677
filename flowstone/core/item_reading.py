"""
From a reader to pages whose progress is kept with them.

`ItemReading.open` gives the pages of a source, from its beginning or from where a kept progress
stands. A page is read when the one before it has been dealt with, so at most one is in memory.

::

    async with reading.open(reader("documents"), progress=kept) as pages:
        async for page in pages:
            await keep(page.items, page.progress)        # one transaction

``max_items`` and ``max_batches`` count from the very beginning, restarts included.
"""

import json
import logging
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.item_pages import ItemPage, ReadingStatus
from flowstone.core.contracts.item_reader import Read
from flowstone.core.contracts.item_source import AnyReader, ItemSource
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.defaults.iterable_reader import IterableReader
from flowstone.core.errors import (
    FlowStoneError,
    InvalidOptionError,
    ReaderError,
    RegistrationError,
    reason_text,
)
from flowstone.core.json_value import JsonValue
from flowstone.core.reader_config import ReadingLimits, filled_in, limits_of, resolve
from flowstone.core.reading_progress import ReadingProgress
from flowstone.core.registry import Registry

Item = TypeVar("Item")
T = TypeVar("T")

STALLED_READS = 100
"""So many reads in a row that give nothing and do not move are taken for endless."""

logger = logging.getLogger("flowstone.readers")


@dataclass(frozen=True, slots=True)
class ItemReading:
    """
    Opens sources; one for an application.

    Attributes:
        readers: What names stand for.
        normalizer: Says whether trying again can help when a reader fails.
        telemetry: Told of what is read: ``item_reader.init``, ``.read``, ``.complete``, ``.error``.
    """

    readers: Registry[AnyReader]
    normalizer: ErrorNormalizer
    telemetry: TelemetryEmitter

    @asynccontextmanager
    async def open(
        self,
        source: ItemSource[Item] | Iterable[Item] | AsyncIterable[Item],
        *,
        deps: Mapping[str, object] | None = None,
        progress: Mapping[str, JsonValue] | None = None,
        page_size: int | None = None,
        asset: str = "",
        run_id: int | None = None,
    ) -> AsyncIterator["PagesOfReader[Item]"]:
        """
        Give the pages of a source; the reader is closed on leaving.

        Args:
            source: What `reader` returns; or items, which begin anew after a restart.
            deps: Inputs by parameter, for the reader and the functions in its configuration.
            progress: That of the last page that was kept; None is the beginning.
            page_size: The most items of a page; the configuration may say fewer.
            asset: For events; so is ``run_id``.

        Raises:
            NotRegisteredError: There is no reader of that name.
            InvalidOptionError: The configuration is wrong, or ``source`` is no source.
            ReaderError: The reader failed; also while pages are read.
        """
        told = _Told(self.telemetry, {"asset": asset, "run_id": run_id})
        try:
            pages = await self._opened(source, deps or {}, progress, page_size, told)
        except Exception as error:
            told.error(error)
            raise
        try:
            yield pages
        finally:
            await pages.close()

    async def _opened(
        self,
        given: ItemSource[Item] | Iterable[Item] | AsyncIterable[Item],
        deps: Mapping[str, object],
        progress: Mapping[str, JsonValue] | None,
        page_size: int | None,
        told: "_Told",
    ) -> "PagesOfReader[Item]":
        start = ReadingProgress.parse(progress).resumable
        source = given if isinstance(given, ItemSource) else _source_of(given)
        told.facts["reader"] = source.label
        reader, merged = resolve(source, self.readers)
        config = await filled_in(merged, deps, reader.kept_functions)
        limits, config = limits_of(config, page_size)
        calls = _Calls(reader, source.label, self.normalizer)
        if start.is_done:
            return PagesOfReader(calls, None, start, limits, told)
        began = time.perf_counter()
        state = await calls.do("begin", reader.init, config, deps)
        pages: PagesOfReader[Item] = PagesOfReader(calls, state, start, limits, told)
        try:
            if start.position is not None:
                pages.state = await calls.do("go on", reader.restore, state, start.position)
            total = await calls.do("count", reader.count, pages.state)
        except BaseException:
            await pages.close()
            raise
        pages.count(total)
        told.telemetry.execute(
            "item_reader.init", {"duration": (time.perf_counter() - began) * 1000}, told.facts
        )
        return pages


class PagesOfReader(Generic[Item]):
    """See `flowstone.core.contracts.item_pages.ItemPages`."""

    def __init__(
        self,
        calls: "_Calls",
        state: object,
        start: ReadingProgress,
        limits: ReadingLimits,
        told: "_Told",
    ) -> None:
        self.state = state
        self.total: int | None = start.items_read if start.is_done else None
        self.status = _status(start, limits)
        self._calls = calls
        self._progress = start
        self._limits = limits
        self._told = told
        self._is_open = not start.is_done
        self._stalled = 0

    def count(self, total: object) -> None:
        """Take the reader's count of all items; what is not read of them does not count."""
        if total is None:
            return
        if not isinstance(total, int) or isinstance(total, bool) or total < 0:
            raise self._calls.failed("count", f"it counted {total!r}")
        bound = self._limits.max_items
        self.total = total if bound is None else min(total, bound)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemPage[Item]:
        if self.status is not ReadingStatus.READING:
            raise StopAsyncIteration
        before = self._progress
        try:
            began = time.perf_counter()
            read = await self._read(before)
            duration = (time.perf_counter() - began) * 1000
            page = self._page(before, read)
        except Exception as error:
            self._told.error(error)
            raise
        self._tell(page, duration)
        return page

    def _tell(self, page: ItemPage[Item], duration: float) -> None:
        telemetry, facts = self._told.telemetry, self._told.facts
        measured = {"duration": duration, "count": len(page.items)}
        telemetry.execute("item_reader.read", measured, {**facts, "batch_index": page.index})
        if self.status is ReadingStatus.COMPLETE:
            telemetry.execute("item_reader.complete", {"count": self._progress.items_read}, facts)

    async def _read(self, before: ReadingProgress) -> Read[object]:
        limit = self._limits.page_size
        if self._limits.max_items is not None:
            limit = min(limit, self._limits.max_items - before.items_read)
        doing = f"read page {before.page_index}"
        read = await self._calls.do(doing, self._calls.reader.read, self.state, limit)
        if not isinstance(read, Read):
            raise self._calls.failed(doing, f"it gave {_kind(read)}, not a Read(items, state)")
        if not isinstance(read.items, Sequence) or isinstance(read.items, str | bytes):
            raise self._calls.failed(doing, f"its items are {_kind(read.items)}, not a list")
        if len(read.items) > limit:
            raise self._calls.failed(
                doing, f"it gave {len(read.items)} items, and was asked for at most {limit}"
            )
        return read

    def _page(self, before: ReadingProgress, read: Read[object]) -> ItemPage[Item]:
        doing = f"tell where page {before.page_index} ends"
        self.state = read.state
        position = self._calls.position(doing, read.state)
        self._progress = ReadingProgress(
            position,
            before.page_index + bool(read.items),
            before.items_read + len(read.items),
            is_done=read.is_last,
        )
        if self._progress.items_read == self._limits.max_items:
            self._progress = replace(self._progress, is_done=True)
        is_stalled = not read.items and not read.is_last and position == before.position
        self._stalled = self._stalled + 1 if is_stalled else 0
        if self._stalled == STALLED_READS:
            raise self._calls.failed(
                doing, f"{STALLED_READS} reads gave nothing; the last has to say is_last=True"
            )
        self.status = _status(self._progress, self._limits)
        items: Any = read.items
        return ItemPage(
            before.page_index,
            items,
            self._progress.dump(),
            is_last=self.status is not ReadingStatus.READING,
        )

    async def close(self) -> None:
        """Close the reader, once; a failure harms nothing that was read, and is logged."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            await self._calls.reader.close(self.state)
        except Exception:
            logger.exception("item reader '%s' could not be closed", self._calls.label)


@dataclass(frozen=True, slots=True)
class _Calls:
    """The reader's methods, and what their failures become."""

    reader: AnyReader
    label: str
    normalizer: ErrorNormalizer

    async def do(self, doing: str, method: Callable[..., Awaitable[T]], *given: object) -> T:
        try:
            return await method(*given)
        except Exception as error:
            raise self.error(doing, error) from error

    def position(self, doing: str, state: object) -> JsonValue:
        try:
            # A copy, as it will be read: a reader may go on to change what it gave.
            position: JsonValue = json.loads(
                json.dumps(self.reader.checkpoint(state), allow_nan=False)
            )
        except Exception as error:
            raise self.error(doing, error) from error
        return position

    def error(self, doing: str, error: Exception) -> FlowStoneError:
        if isinstance(error, InvalidOptionError | ReaderError | RegistrationError):
            return error
        normalized = self.normalizer.normalize(error)
        return self.failed(doing, reason_text(error), retryable=normalized.may_pass)

    def failed(self, doing: str, why: str, *, retryable: bool = False) -> ReaderError:
        return ReaderError(self.label, doing, why, retryable=retryable)


class _Told:
    """Who is told of what is read, with which facts."""

    def __init__(self, telemetry: TelemetryEmitter, facts: dict[str, object]) -> None:
        self.telemetry = telemetry
        self.facts = facts

    def error(self, error: Exception) -> None:
        self.telemetry.execute("item_reader.error", {}, {**self.facts, "error": error})


def _status(progress: ReadingProgress, limits: ReadingLimits) -> ReadingStatus:
    if progress.is_done or _reached(progress.items_read, limits.max_items):
        return ReadingStatus.COMPLETE
    if _reached(progress.page_index, limits.max_batches):
        return ReadingStatus.PAUSED
    return ReadingStatus.READING


def _reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


def _source_of(given: Iterable[Item] | AsyncIterable[Item]) -> ItemSource[Item]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable | AsyncIterable):
        raise InvalidOptionError(
            f"items must be a list, an (async) iterator or reader(…), not {_kind(given)}"
        )
    return ItemSource(IterableReader(), {"items": given})


def _kind(given: object) -> str:
    return "None" if given is None else f"a {type(given).__qualname__}"
