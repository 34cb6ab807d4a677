"""An event loop whose time leaps to the next thing that is due: hours pass at once."""

import asyncio
import selectors
from datetime import UTC, datetime


class LeapingLoop(asyncio.SelectorEventLoop):
    """For what waits for nothing but time and itself: no thread, and no connection."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Leaping(self))

    def time(self) -> float:
        return self._now

    def leap(self, seconds: float) -> None:
        self._now += seconds


class _Leaping(selectors.SelectSelector):
    def __init__(self, loop: LeapingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is due: this would wait for ever")
        self._loop.leap(max(timeout, 0.0))
        return super().select(0)


class LoopClock:
    """The time of the loop that asks for it."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(asyncio.get_running_loop().time(), UTC)
