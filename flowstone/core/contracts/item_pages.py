"""Items on their way from a reader to whoever keeps them, page by page."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from flowstone.core.json_value import JsonValue

I_co = TypeVar("I_co", covariant=True)


class ReadingStatus(StrEnum):
    """Whether more pages come."""

    READING = "reading"
    COMPLETE = "complete"
    PAUSED = "paused"
    """As many pages as were to be read are read; a larger ``max_batches`` lets it go on."""


@dataclass(frozen=True, slots=True)
class ItemPage(Generic[I_co]):
    """
    Some items, and how far reading has come with them.

    Attributes:
        index: How many pages with items came before, restarts included.
        items: None of them if all that was looked at was filtered out.
        progress: JSON, to be kept in the transaction that keeps the items, and given back to go
            on after this page.
        is_last: No page comes after it.
    """

    index: int
    items: Sequence[I_co]
    progress: Mapping[str, JsonValue]
    is_last: bool


class ItemPages(Protocol[I_co]):
    """The pages of one reading; iterating goes on where it stands."""

    @property
    def total(self) -> int | None:
        """How many items there will be in all, with those of before a restart; None: unknown."""

    @property
    def status(self) -> ReadingStatus:
        """Whether more pages come."""

    def __aiter__(self) -> "AsyncIterator[ItemPage[I_co]]":
        """Give page after page; the last one has ``is_last``."""
