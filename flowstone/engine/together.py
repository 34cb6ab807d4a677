"""
Calls that many make at once, answered together: one statement, and one commit, for all of them.

::

    call ──▶ a flight is free ──▶ goes at once
         └─▶ none is ──▶ waits ──▶ the next flight takes all who wait

So a call that comes alone waits for nobody, and under load as many share a commit as have come
while the one before was on its way; there is no timer. A flight waits for no lock: what it leaves
open, because somebody has one, is asked again alone, and holds up nobody.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from flowstone.core.errors import DatabaseError
from flowstone.engine.database_errors import Failure, failure_of

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

IN_FLIGHT = 2
"""One is on its way to the database while the other waits for its commit."""

MOST = 100
"""In one statement: what a client waits for is then still short."""

MOST_BYTES = 4 * 1024 * 1024
"""In one statement; one call that is larger goes alone."""


class Together(Generic[Asked, Answer]):
    """
    Answers one call each, and sends many of them at once.

    Args:
        ask: Answers all that it is given, in their order. It is told whether to wait for locks; if
            not, None is the answer to what somebody holds up.
        size: How large a call is, in bytes.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Asked], bool], Awaitable[Sequence[Answer | None]]],
        size: Callable[[Asked], int] = lambda _: 0,
    ) -> None:
        self._ask = ask
        self._size = size
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer | None]]] = deque()
        self._flights: set[asyncio.Task[None]] = set()

    async def __call__(self, asked: Asked) -> Answer:
        """Return the answer to one call, or raise what it alone raises."""
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        self._depart()
        found = await answer
        if found is None:
            (found,) = await self._ask([asked], True)
            assert found is not None, "it has waited"
        return found

    def _depart(self) -> None:
        while len(self._flights) < IN_FLIGHT and (aboard := self._boarded()):
            flight = asyncio.create_task(self._fly(aboard))
            self._flights.add(flight)
            flight.add_done_callback(self._land)

    def _boarded(self) -> list[tuple[Asked, asyncio.Future[Answer | None]]]:
        """Take those who wait off the queue, as many as go together."""
        aboard: list[tuple[Asked, asyncio.Future[Answer | None]]] = []
        left = MOST_BYTES
        while self._waiting and len(aboard) < MOST:
            asked, answer = self._waiting[0]
            left -= self._size(asked)
            if aboard and left < 0:
                break
            self._waiting.popleft()
            # Who has been cancelled asks for nothing any more.
            if not answer.done():
                aboard.append((asked, answer))
        return aboard

    def _land(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._depart()

    async def _fly(self, aboard: Sequence[tuple[Asked, asyncio.Future[Answer | None]]]) -> None:
        """Never raises: who is aboard gets what goes wrong."""
        asked = [it for it, _ in aboard]
        try:
            found = await self._ask(asked, False)
        except Exception as error:
            if _is_somebodys(error):
                found = [None] * len(asked)
            else:
                for _, answer in aboard:
                    if not answer.done():
                        answer.set_exception(error)
                return
        except asyncio.CancelledError:
            for _, answer in aboard:
                answer.cancel()
            raise
        for (_, answer), it in zip(aboard, found, strict=True):
            if not answer.done():
                answer.set_result(it)


def _is_somebodys(error: Exception) -> bool:
    """Whether one of many may have caused it, so that the others would do better without."""
    return isinstance(error, DatabaseError) and failure_of(error) in (
        Failure.REFUSED,
        Failure.LOCKED,
    )
