"""What is read page by page while it is iterated, by an async function or by a plain one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, TypeVar

from flowstone.core.errors import InvalidOptionError

T_co = TypeVar("T_co", covariant=True)


class ResultStream(Generic[T_co]):
    """
    Results in the order of the items; the next page is read when it is wanted.

    An async function says ``async for``, a plain one, which runs in a thread, ``for``; either any
    number of times.

    Args:
        pages: Begins to read. What a page gives is iterated by who iterates the stream, be it in a
            thread.
        loop: Where pages are read.
        loop_thread: Which thread that loop runs in.
    """

    def __init__(
        self,
        pages: Callable[[], AsyncIterator[Iterable[T_co]]],
        loop: asyncio.AbstractEventLoop,
        loop_thread: int,
    ) -> None:
        self._pages = pages
        self._loop = loop
        self._loop_thread = loop_thread

    async def __aiter__(self) -> AsyncIterator[T_co]:
        async for page in self._pages():
            for it in page:
                yield it

    def __iter__(self) -> Iterator[T_co]:
        """
        Iterate in a thread; on the event loop itself say ``async for``.

        Raises:
            InvalidOptionError: This is the event loop, which would wait for itself.
        """
        if threading.get_ident() == self._loop_thread:
            raise InvalidOptionError(
                "results are iterated on the event loop: an async function says "
                "`async for it in results`, a plain one `for it in results`"
            )
        pages = self._pages()
        while (page := self._awaited(pages)) is not None:
            yield from page

    def _awaited(self, pages: AsyncIterator[Iterable[T_co]]) -> Iterable[T_co] | None:
        async def read() -> Iterable[T_co] | None:
            return await anext(pages, None)

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result()
