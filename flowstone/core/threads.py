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
        self._running: dict[int, Future[object]] = {}

    async def run(self, owner: int, function: Callable[[], object]) -> object:
        """Return what the function returns, with the caller's context variables."""
        context = contextvars.copy_context()
        future: Future[object] = self._pool.submit(context.run, function)
        self._running[owner] = future
        result = await asyncio.wrap_future(future)
        del self._running[owner]
        return result

    def lingering(self, owner: int) -> "asyncio.Future[None] | None":
        """Return a future that is done when the owner's abandoned thread returns, if it has one."""
        future = self._running.pop(owner, None)
        if future is None or future.done():
            return None
        loop = asyncio.get_running_loop()
        returned: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not returned.done():
                returned.set_result(None)

        def on_return(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell)

        future.add_done_callback(on_return)
        return returned

    def close(self) -> None:
        """Take no more work; what runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
