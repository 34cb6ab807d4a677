"""Who holds which unique key in memory, by the rules of ``sql/core/functions/74_unique.sql``."""

from datetime import datetime

from flowstone.core.defaults.memory_rows import Row
from flowstone.core.unique_key import STATE_OF


class UniqueKeys:
    """
    The holders of keys.

    A job whose window has passed keeps its entry until another takes it over, or it lets go.
    """

    def __init__(self) -> None:
        self._holders: dict[str, Row] = {}

    def holder(self, key: str, now: datetime) -> Row | None:
        """Return the job that keeps others with this key out."""
        row = self._holders.get(key)
        return None if row is None or _has_passed(row, now) else row

    def follow(self, row: Row, now: datetime) -> None:
        """Let the job take its key, keep it, or let go of it, as its status wants."""
        if row.unique is None:
            return
        key = row.unique.key
        if STATE_OF[row.status] not in row.unique.states:
            self.release(row)
        elif not _has_passed(row, now) and self.holder(key, now) is None:
            self._holders[key] = row

    def release(self, row: Row) -> None:
        """Let go of the key, if it is this job that holds it."""
        if row.unique is not None and self._holders.get(row.unique.key) is row:
            del self._holders[row.unique.key]

    def successor(self, row: Row, now: datetime) -> Row | None:
        """Return who has taken the key of a job that is to be done again."""
        if row.unique is None or _has_passed(row, now):
            return None
        holder = self.holder(row.unique.key, now)
        return None if holder is row else holder


def _has_passed(row: Row, now: datetime) -> bool:
    if row.unique is None or row.unique.within is None:
        return False
    return row.run.created_at + row.unique.within <= now
