"""
Where the items of a fan-out come from, page by page: the item reader's contract.

A reader is asked for one page after another. What it needs for that it keeps in a state of its own
making, which it is handed each time; `ItemReader.checkpoint` says in JSON where the state stands,
so that reading goes on in another process after a crash.

Source: seeds 000 §2.2, 004 §2.2.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from flowstone.core.json_value import JsonValue

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Read(Generic[S]):
    """
    What one `ItemReader.read` gives.

    Attributes:
        items: In their order; may be fewer than were asked for, and none if what was looked at is
            not wanted: that ends nothing.
        state: To go on with, and what `ItemReader.checkpoint` is asked of for this page.
        is_last: Nothing comes after these.
    """

    items: Sequence[object]
    state: S
    is_last: bool = False


class ItemReader(ABC, Generic[S]):
    """
    Reads items in pages; ``S`` is its state between two of them.

    Obligations: an instance keeps no state of its own, so one may read several times at once. A
    reader that has a checkpoint gives, from one, exactly what it would have given after the page
    that the checkpoint is of, whatever the size of the pages before and after. Failures are
    raised; whether trying again can help is read from the exception.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    kept_functions: ClassVar[frozenset[str]] = frozenset()
    """Entries of the configuration that may be functions, and are not called to get a value."""

    @abstractmethod
    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> S:
        """
        Return the state before the first page.

        Args:
            config: As registered, with what the asset says laid over it; values that are functions,
                other than `kept_functions`, and environment variables are filled in.
            deps: The inputs of the function that named the reader, by parameter.

        Raises:
            InvalidOptionError: The configuration is wrong.
        """

    @abstractmethod
    async def read(self, state: S, limit: int) -> Read[S]:
        """
        Return the next items, at most ``limit`` of them.

        Called again with the same state when the page was lost on its way; it then gives the same.
        """

    async def count(self, state: S) -> int | None:
        """Return how many items there are in all, if that is cheap to know; the default: None."""
        return None

    def checkpoint(self, state: S) -> JsonValue:
        """
        Return where the state stands, as JSON.

        None, the default, is that this reader cannot go on: after a crash it begins anew, and what
        was read already is recognized by its key.
        """
        return None

    async def restore(self, state: S, checkpoint: JsonValue) -> S:
        """
        Return the state that a checkpoint is of.

        Args:
            state: A fresh one, of `init`.
        """
        return state

    async def close(self, state: S) -> None:
        """End what the state holds; called once, with the last state there was."""
