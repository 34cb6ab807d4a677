"""
The part of a store that keeps the application's own limits: slots and rates by name.

Source: conformance section U of the original, whose limiter was not shared and leaked slots (W-37).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flowstone.core.rate import Rate


@dataclass(frozen=True, slots=True)
class LimitValues:
    """What a limit allows; None is any number."""

    slots: int | None
    rate: Rate | None


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """
    A limit as it stands.

    Attributes:
        is_by_hand: Set at run time: what code says no longer counts.
        taken: Slots that attempts hold which run at this moment.
        used: How much of the rate was used within the period that has just passed.
    """

    name: str
    values: LimitValues
    is_by_hand: bool
    taken: int
    used: int

    @property
    def remaining(self) -> int | None:
        """How many more the rate lets through now; None is any number."""
        rate = self.values.rate
        return None if rate is None else max(0, rate.count - self.used)

    @property
    def utilization(self) -> float | None:
        """How much of the rate is used, in percent; None without a rate."""
        rate = self.values.rate
        return None if rate is None else 100.0 * self.used / rate.count


@dataclass(frozen=True, slots=True)
class Taken:
    """
    What came of asking a limit.

    Attributes:
        wait: None: it let through. Otherwise how long until asking again can help, at the least.
        slot_id: The slot that is held now, to be given back; None where the limit has no slots.
    """

    wait: timedelta | None
    slot_id: int | None = None


class Limits(ABC):
    """
    Limits of one store, shared by all that work on it.

    Every method is one atomic step. A topic ``limit:<name>`` is published when a slot was given
    back that somebody waited for.
    """

    @abstractmethod
    async def set_limits(self, limits: Mapping[str, LimitValues], *, by_code: bool) -> None:
        """
        Say what limits allow; who holds slots keeps them.

        Args:
            by_code: As the code has them: one that was set at run time is left alone.
        """

    @abstractmethod
    async def take_limit(self, name: str, holder: tuple[int, int] | None) -> Taken:
        """
        Take a slot and one use of the rate, or neither.

        Args:
            holder: The attempt that holds the slot, by (materialization id, claim): the slot counts
                for as long as that claim runs. None uses the rate alone.

        Raises:
            UnknownLimitError: Nobody has said such a limit.
        """

    @abstractmethod
    async def give_back_slot(self, name: str, slot_id: int) -> bool:
        """Give a slot back; False when it was not held any longer."""

    @abstractmethod
    async def limits(self, name: str | None = None) -> Sequence[LimitRecord]:
        """Return the limits by name, or the one that is asked for, if it exists."""

    @abstractmethod
    async def reset_limit(self, name: str) -> bool:
        """Forget what was used and free the slots; False when there is no such limit."""

    @abstractmethod
    async def remove_limit(self, name: str) -> bool:
        """Forget the limit; False when there was none."""
