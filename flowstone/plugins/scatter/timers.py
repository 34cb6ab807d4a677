"""Calls that are to be made later, and none of them after the end."""

import asyncio
from collections.abc import Callable


class Timers:
    """The timers of one pump."""

    def __init__(self) -> None:
        self._handles: set[asyncio.TimerHandle] = set()

    def add(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call after some time, unless all are cancelled before."""

        def make() -> None:
            self._handles.discard(handle)
            call()

        handle = asyncio.get_running_loop().call_later(seconds, make)
        self._handles.add(handle)

    def cancel(self) -> None:
        """Make none of the calls that are still to be made."""
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()
