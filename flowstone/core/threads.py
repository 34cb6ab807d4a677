"""Where plain functions run: a pool of threads that nobody can interrupt."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Threads:
    """
    Runs functions in threads, and remembers those that nobody waits for any longer.

    A thread cannot be stopped. When its attempt times out or is cancelled it runs on, its result is
    thrown away, and the slot that it occupies is free only when it returns.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=max(1, count), thread_name_prefix="flowstone")
        self._running: dict[int, set[Future[object]]] = {}

    async def run(self, owner: int, function: Callable[[], object]) -> object:
        """
        Return what the function returns, with the caller's context variables.

        An owner may have several functions running at once.
        """
        context = contextvars.copy_context()
        future: Future[object] = self._pool.submit(context.run, without_stop_iteration, function)
        running = self._running.setdefault(owner, set())
        running.add(future)
        try:
            return await asyncio.wrap_future(future)
        finally:
            if future.done():
                running.discard(future)
                # After `lingering` the owner's next attempt has a set of its own.
                if not running and self._running.get(owner) is running:
                    del self._running[owner]

    def lingering(self, owner: int) -> "asyncio.Future[None] | None":
        """Return a future that is done when the owner's abandoned threads return, if any run."""
        left = {future for future in self._running.pop(owner, ()) if not future.done()}
        if not left:
            return None
        loop = asyncio.get_running_loop()
        returned: asyncio.Future[None] = loop.create_future()

        def tell(future: Future[object]) -> None:
            left.discard(future)
            if not (left or returned.done()):
                returned.set_result(None)

        def on_return(future: Future[object]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, future)

        for future in tuple(left):
            future.add_done_callback(on_return)
        return returned

    def close(self) -> None:
        """Take no more work; what runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def without_stop_iteration(function: Callable[[], object]) -> object:
    """Call the function; a `StopIteration` can end no awaited future, so another error tells it."""
    try:
        return function()
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error
