"""Count things, and wait until there are enough."""

from flowstone_tally.waiting import tally

__all__ = ["tally"]
