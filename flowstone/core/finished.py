"""Settlements on their way from the tasks that made them to the turn that carries them."""

from collections.abc import Iterable, Iterator

from flowstone.core.contracts.store import Settlement

BATCH_SETTLEMENTS = 2_000
BATCH_CHARACTERS = 16 * 1024 * 1024
"""What one turn carries at most, unless a single value is larger."""


class Finished:
    """A queue of settlements, taken in batches that one statement can carry."""

    def __init__(self) -> None:
        self._waiting: list[Settlement] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Settlement]:
        return iter(self._waiting)

    def add(self, settlement: Settlement) -> None:
        """Let one wait for the next turn."""
        self._waiting.append(settlement)

    def put_back(self, settlements: Iterable[Settlement]) -> None:
        """Let a batch go first again: its turn did not come to anything."""
        self._waiting[:0] = settlements

    def clear(self) -> None:
        """Forget all of them: they would be refused."""
        self._waiting.clear()

    def next_batch(self) -> list[Settlement]:
        """Take what finished, as much as one turn should carry."""
        characters = 0
        for place, settlement in enumerate(self._waiting):
            characters += len(settlement.value or "")
            if place and (characters > BATCH_CHARACTERS or place >= BATCH_SETTLEMENTS):
                batch, self._waiting = self._waiting[:place], self._waiting[place:]
                return batch
        batch, self._waiting = self._waiting, []
        return batch
