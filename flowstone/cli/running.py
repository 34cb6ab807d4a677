"""Coroutines run from the command line: whatever ends the command, what was opened is closed."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowstone.cli.event_loop import new_event_loop
from flowstone.cli.exit_codes import Terminated
from flowstone.cli.output import warn

T = TypeVar("T")

PATIENCE_SECONDS = 0.5
"""After a stop: how long it may take before a word is said about it."""


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """
    Run a coroutine function to its end and return its result.

    Ctrl-C and SIGTERM cancel it, so that what it has opened is closed; a second one cancels that.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        Terminated: SIGTERM arrived.
    """
    stops: list[type[BaseException]] = []

    async def until_stopped() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop(kind: type[BaseException]) -> None:
            stops.append(kind)
            task.cancel()
            if len(stops) == 1:
                loop.call_later(PATIENCE_SECONDS, _tell_stopping)

        loop.add_signal_handler(signal.SIGTERM, stop, Terminated)
        loop.add_signal_handler(signal.SIGINT, stop, KeyboardInterrupt)
        return await work()

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(until_stopped())
    except asyncio.CancelledError:
        if stops:
            raise stops[0] from None
        raise


def _tell_stopping() -> None:
    warn("stopping: what runs may end; once more to stop at once")
