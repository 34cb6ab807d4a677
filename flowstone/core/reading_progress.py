"""How far a reader has come, as it is kept with each page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class ReadingProgress:
    """
    Where reading stands after a page.

    Attributes:
        position: The reader's checkpoint; None when it has none, and begins anew after a crash.
        page_index: How many pages with items were read.
        items_read: How many items.
        is_done: Whether the last item was read.
    """

    position: JsonValue = None
    page_index: int = 0
    items_read: int = 0
    is_done: bool = False

    @classmethod
    def parse(cls, kept: Mapping[str, JsonValue] | None) -> Self:
        """
        Return what `dump` wrote; None is the beginning.

        Raises:
            InvalidOptionError: It is something else.
        """
        if kept is None:
            return cls()
        match kept:
            case {
                "page_index": int(page_index),
                "items_read": int(items_read),
                "is_done": bool(is_done),
                **rest,
            } if {*rest} == {"position"}:
                return cls(rest["position"], page_index, items_read, is_done)
        raise InvalidOptionError(f"{dict(kept)!r} is not the progress of an item reader")

    def dump(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {
            "position": self.position,
            "page_index": self.page_index,
            "items_read": self.items_read,
            "is_done": self.is_done,
        }

    @property
    def resumable(self) -> Self:
        """What reading goes on from: without a position, the beginning."""
        return self if self.is_done or self.position is not None else type(self)()
