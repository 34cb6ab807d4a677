"""
When items may start, where a rate bounds them over all pumps.

The coordinator gives each item a time by its own clock, which lies between the sending of a turn
and its answer. An item that starts before that would be too early, and one that starts later than
the slack which the spacing has would be counted in a later period, beside those that are due there:
what is late is not begun but goes back, for another time.
"""

import math
from collections import deque
from collections.abc import Iterator

from flowstone.plugins.scatter.pump_place import Piece
from flowstone.plugins.scatter.records import Turned

NEVER = math.inf

REMEMBERED = 16
"""Of so many answers the fastest tells how far away the coordinator is."""


class Slots:
    """The times of what one pump is handed."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def pieces(self, turned: Turned, sent_at: float, answered_at: float) -> Iterator[Piece]:
        """
        Return what an answer has handed out, with its times.

        What an answer always takes moves the times of all pumps, and makes none of them late.
        """
        handed = turned.handed
        columns = zip(handed.chunk_ids, handed.indexes, handed.attempts, handed.items, strict=True)
        if turned.start_in is None:
            return (Piece(*column, 0.0, NEVER) for column in columns)
        took = answered_at - sent_at
        self._seconds.append(took)
        first = answered_at + turned.start_in.total_seconds()
        spacing = turned.spacing.total_seconds()
        slack = NEVER
        if turned.slack is not None:
            # Of one answer alone, or two, nobody knows whether that is what it always takes.
            always = min(self._seconds) if len(self._seconds) > 2 else 0.0
            slack = turned.slack.total_seconds() - (took - always)
        return (
            Piece(*column, first + place * spacing, first + place * spacing + slack)
            for place, column in enumerate(columns)
        )
