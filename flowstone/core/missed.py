"""What a schedule does about ticks that nobody was there for."""

from typing import Literal, TypeAlias

Missed: TypeAlias = Literal["skip", "one", "all"]
"""What becomes of ticks that nobody enqueued in time; see `flowstone.core.ticking`."""
