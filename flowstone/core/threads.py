"""Where plain functions run: a pool of threads that nobody can interrupt."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from flowstone.core import call_beginning

Job: TypeAlias = tuple["Future[object]", Callable[[], object]]


class Threads:
    """
    Runs functions in threads, and remembers those that nobody waits for any longer.

    A thread cannot be stopped. When its attempt times out or is cancelled it runs on, its result is
    thrown away, and the slot that it occupies is free only when it returns. It does not keep the
    process alive either: threads are daemons here, which those of a `ThreadPoolExecutor` cannot be.
    """

    def __init__(self, count: int) -> None:
        self._most = max(1, count)
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: dict[int, set[Future[object]]] = {}

    async def run(self, owner: int, function: Callable[[], object]) -> object:
        """
        Return what the function returns, with the caller's context variables.

        An owner may have several functions running at once.
        """
        context = contextvars.copy_context()
        future = self._submit(lambda: context.run(without_stop_iteration, function))
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

    def widen(self, count: int) -> None:
        """Allow so many threads, if that is more than before."""
        self._most = max(self._most, count)

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
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job[0].cancel()
        for _ in range(self._started):
            self._jobs.put(None)

    def _submit(self, function: Callable[[], object]) -> "Future[object]":
        future: Future[object] = Future()
        self._jobs.put((future, function))
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            name = f"flowstone_{self._started}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._idle.release()
                job = self._jobs.get()
            if job is None:
                return
            _do(*job)
            del job  # what it holds is not kept until the next one comes


def _do(future: "Future[object]", function: Callable[[], object]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def without_stop_iteration(function: Callable[[], object]) -> object:
    """Call the function; a `StopIteration` can end no awaited future, so another error tells it."""
    call_beginning.tell()
    try:
        return function()
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error
