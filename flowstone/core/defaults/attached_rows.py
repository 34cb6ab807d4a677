"""What a plugin keeps in the memory store, row by row with its materializations."""

from datetime import datetime
from typing import Generic, TypeVar

R = TypeVar("R")


class AttachedRows(dict[int, R], Generic[R]):
    """
    A plugin's rows by the materialization that they belong to, and go with.

    A subclass is a table of its own: `MemoryStore.attached` has one object of each, which all
    applications over that store share. ``flowstone_attach_v1`` is the same for a table in Postgres.
    """

    def forget(self, materialization_id: int) -> None:
        """Let the row of a materialization go that is pruned; there need not be one."""
        self.pop(materialization_id, None)

    def forget_items(self, materialization_id: int, now: datetime) -> int:
        """
        Let the many small things go that a row has, and say how many there were.

        Its materialization has ended, and stays for now; see ``Retention(items=…)``.
        """
        return 0

    def count_items(self, materialization_id: int) -> int:
        """Return how many `forget_items` would let go."""
        return 0
