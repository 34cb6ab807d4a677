"""
When a call that had to wait for a thread, or for a child process, really begins.

Who calls may want to know, for a time limit that is not to count the waiting::

    on_beginning.set(begun)
    await call()                    # `begun` is called once, perhaps in another thread
"""

from collections.abc import Callable
from contextvars import ContextVar

on_beginning: ContextVar[Callable[[], None] | None] = ContextVar("on_beginning", default=None)
"""What is told of the next call's beginning; the called function itself does not see it."""


def tell() -> None:
    """Say that the call of this context begins."""
    begun = on_beginning.get()
    if begun is not None:
        on_beginning.set(None)
        begun()
