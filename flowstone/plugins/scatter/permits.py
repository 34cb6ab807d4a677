"""
How many items a pump may run at once, where a limit holds over all pumps of a scatter.

Turns overlap, and their answers come in any order. So only one at a time speaks of permits, and
what it says is kept to until it is answered: the pump begins nothing beyond the number that it has
told, and the coordinator lets others have no more than what is left of that.
"""


class Permits:
    """The permits of one pump; it begins with none."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._is_asking = False
        self.count = 0
        """So many items may run now."""

    def ask(self, running: int, coming: int) -> tuple[int | None, int]:
        """
        Return how many a turn is to want, and how many run at most until its answer.

        None are wanted (None) where another turn asks.

        Args:
            coming: How many may be begun until then, if that is permitted.
        """
        if self._is_asking:
            return None, running
        self._is_asking = True
        self.count = max(min(self.count, running + coming), 0)
        return self._most, max(running, self.count)

    def answered(self, permits: int | None) -> bool:
        """Take the answer to what was asked, None: there is none; return whether there are more."""
        self._is_asking = False
        before = self.count
        if permits is not None:
            self.count = min(permits, self._most)
        return self.count > before
