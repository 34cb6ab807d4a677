"""Where a pump works, and what it is handed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from flowstone.core.json_value import JsonText
from flowstone.plugins.scatter.records import ItemEvent, ItemOutcome
from flowstone.plugins.scatter.time_limit import Place

LANES = 3
"""How many turns are under way at once."""

CHUNK_ITEMS = 1000
"""How many items a turn asks for at most."""

HALF = CHUNK_ITEMS // 2

MOST_AT_ONCE = 1000
"""How many items one process runs at once when ``max_concurrent`` does not say less."""

HOLD_SECONDS = 0.01
"""For how long items that do not wait may hold the event loop, one after the other."""

SETTLE_SECONDS = 0.05
"""How long an outcome waits for others to be reported with."""

AHEAD_SECONDS = 0.2
"""For how long what is handed out in advance should last, where permits bound what runs."""

SLICE_SECONDS = 0.5
"""After so long a pump asks whether something else waits for its place, and yields for as long."""

LOOK_SECONDS = 0.2
"""How often a pump looks for items when it has none and nobody can tell it."""

HEAR_SECONDS = 1.0
"""How late a pump that is busy hears of changed limits."""

PATIENCE_SECONDS = 2.0
"""A pump without anything to do for longer than this gives its place up."""


class Piece(NamedTuple):
    """An item that was handed out; after ``late_at`` it is not begun any more."""

    chunk_id: int
    item_index: int
    attempts: int
    item: JsonText
    start_at: float
    late_at: float

    def returned(self) -> ItemOutcome:
        """Return what is reported of it when it is not begun."""
        return ItemOutcome(self.chunk_id, self.item_index, self.attempts, ItemEvent.RETURNED)


@dataclass(slots=True)
class PumpPlace:
    """
    Where a pump works.

    Attributes:
        most_at_once: How many items it may run at once, whatever is permitted.
        max_concurrent: Of the scatter; None is no limit.
        has_rate: Whether items start at times that are handed out with them.
        timeout: How long one attempt at an item may take.
        runs_in: Where it is made; a thread or a child process may have to be waited for.
        is_wanted_back: Whether its worker stops.
        is_fed: Whether items may come that somebody in this process would tell of.
    """

    barrier_id: int
    pump_id: int
    claim: int
    most_at_once: int
    max_concurrent: int | None
    has_rate: bool
    timeout: timedelta | None
    is_wanted_back: Callable[[], bool]
    is_fed: Callable[[], bool] = lambda: False
    runs_in: Place = "loop"

    @property
    def first_room(self) -> int:
        """How much to ask for before it is known what is permitted."""
        return min(CHUNK_ITEMS, self.most_at_once, self.max_concurrent or CHUNK_ITEMS)
