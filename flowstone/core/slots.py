"""How much room a worker has: slots by queue, free until a claim takes one."""

from collections.abc import Mapping

LANES = 2
"""How many turns may be under way at once: one computes while the other is with the store."""


class Slots:
    """
    Counts what is free.

    A turn is offered at most half of a queue's slots, so that the next one has something to take.
    """

    def __init__(self, by_queue: Mapping[str, int]) -> None:
        self.total = dict(by_queue)
        self._begun_with = dict(by_queue)
        self._free = dict(by_queue)

    @property
    def free(self) -> int:
        """How many slots are free, over all queues."""
        return sum(free for free in self._free.values() if free > 0)

    def scale(self, by_queue: Mapping[str, int]) -> bool:
        """
        Give queues other numbers of slots; those that are not named have what they began with.

        What runs goes on: a queue that has more than it may have now gets no slot until enough of
        it has ended. Returns whether anything is different now.
        """
        wanted = {name: by_queue.get(name, slots) for name, slots in self._begun_with.items()}
        if wanted == self.total:
            return False
        for queue, slots in wanted.items():
            self._free[queue] += slots - self.total[queue]
        self.total = wanted
        return True

    @property
    def is_open(self) -> bool:
        """Whether there are slots at all, free or not."""
        return any(self.total.values())

    @property
    def half(self) -> int:
        """How much is worth a second turn while one is under way."""
        return max(1, sum(self.total.values()) // LANES)

    def offer(self) -> dict[str, int]:
        """Reserve slots for a turn, by queue; what it does not use is given back."""
        offered = {}
        for queue, free in self._free.items():
            slots = min(free, max(1, -(-self.total[queue] // LANES)))
            if slots > 0:
                offered[queue] = slots
                self._free[queue] -= slots
        return offered

    def give_back(self, queue: str, slots: int = 1) -> None:
        """Make slots free again."""
        self._free[queue] += slots
