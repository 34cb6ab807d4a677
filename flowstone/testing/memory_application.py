"""An application without a database, whose time is the test's."""

from typing import TypeVar

from flowstone.core.application import FlowStone
from flowstone.core.defaults.clock import Clock
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.testing.owned_clock import OwnedClock

A = TypeVar("A", bound=FlowStone)


def memory_app(app: A, *, clock: Clock | None = None) -> A:
    """
    Return the application in memory: empty, with its own resources, IO managers and plugins.

    Only one of the two may be open at a time. The fixture ``flowstone_app`` does this, too.

    Args:
        clock: Tells the time; None is an `OwnedClock` of its own, for `flowstone.testing.advance`.
    """
    return app.with_store(MemoryStore(clock or OwnedClock()))
