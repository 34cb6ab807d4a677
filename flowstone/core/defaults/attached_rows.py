"""What a plugin keeps in the memory store, row by row with its materializations."""

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
