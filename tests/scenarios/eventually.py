"""Waiting for what others do: a condition and a deadline, never a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], *, within: float = 60.0, every: float = 0.01
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T], *, within: float = 60.0, every: float = 0.01
) -> T: ...


async def eventually(
    condition: Callable[[], object], *, within: float = 60.0, every: float = 0.01
) -> object:
    """
    Return the condition's first true answer.

    Raises:
        AssertionError: There was none within so many seconds; the message has the last answer.
    """
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s; at last: {found!r}")
        await asyncio.sleep(every)
