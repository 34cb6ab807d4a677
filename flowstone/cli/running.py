"""Coroutines run from the command line: whatever ends the command, what was opened is closed."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowstone.cli.exit_codes import Terminated

T = TypeVar("T")


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """
    Run a coroutine function to its end and return its result.

    Ctrl-C and SIGTERM cancel it; a second Ctrl-C does not wait for what it closes.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        Terminated: SIGTERM arrived.
    """
    terminated = False

    async def until_terminated() -> T:
        task = asyncio.current_task()
        assert task is not None

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        return await work()

    try:
        return asyncio.run(until_terminated())
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise
