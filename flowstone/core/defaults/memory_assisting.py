"""What the machine of the memory store does with assistants."""

from collections.abc import Sequence
from datetime import datetime

from flowstone.core.defaults.memory_machine import Machine
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.status import Status


class AssistingMachine(Machine):
    """A machine in which rows may have assistants."""

    def add_assistants(self, it: Row, rows: Sequence[Row]) -> None:
        """Take in assistants of a row that has not ended; they can be claimed at once."""
        it.assistants = [row for row in it.assistants if not row.status.is_terminal]
        it.assistants.extend(rows)
        it.run.rows.extend(rows)
        it.run.open_count += len(rows)
        for row in rows:
            self.rows[row.id] = row
            self._queue(row, None)

    def dismiss_assistants(self, it: Row, now: datetime) -> int:
        """End those that nobody has claimed and return how many."""
        idle = [row for row in it.assistants if row.status is Status.READY]
        for row in idle:
            self._dismiss(row, now)
        return len(idle)

    def hasten_assistants(self, it: Row) -> None:
        """Let those that were to be claimed later be claimed at once."""
        for row in it.assistants:
            if row.status is Status.READY and row.due is not None:
                self._queue(row, None)

    def _dismiss(self, row: Row, now: datetime) -> None:
        # Not a step of the table in core/status.py: nobody is shown the row, and nothing follows.
        row.status, row.finished_at = Status.SKIPPED, now
        row.ticket += 1
        row.run.open_count -= 1
        if not row.run.open_count:
            self._end_run(row.run, now)
