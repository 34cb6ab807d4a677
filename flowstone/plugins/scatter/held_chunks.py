"""What a pump still has of the chunks that were handed out to it."""

from collections import Counter
from collections.abc import Iterable

from flowstone.plugins.scatter.records import ItemOutcome


class HeldChunks:
    """
    Counts the items of each chunk that are not settled yet.

    A chunk is told of as finished only after all its outcomes were taken: of two turns under way
    the later may be done first.
    """

    def __init__(self) -> None:
        self._left: dict[int, int] = {}
        self._finished: list[int] = []

    def add(self, chunk_ids: Iterable[int]) -> None:
        """Count items that were handed out, one for each time that their chunk is named."""
        for chunk_id, count in Counter(chunk_ids).items():
            self._left[chunk_id] = self._left.get(chunk_id, 0) + count

    def settle(self, outcomes: Iterable[ItemOutcome]) -> None:
        """Count items that a turn has settled."""
        for chunk_id, count in Counter([it.chunk_id for it in outcomes]).items():
            left = self._left.get(chunk_id, 0) - count
            if left > 0:
                self._left[chunk_id] = left
            elif self._left.pop(chunk_id, None) is not None:
                self._finished.append(chunk_id)

    def take_finished(self) -> list[int]:
        """Return the chunks that are finished, and forget them."""
        finished, self._finished = self._finished, []
        return finished

    def put_back(self, finished: list[int]) -> None:
        """Remember them again: it is not known whether they were told of."""
        self._finished += finished
