"""What the machine of the memory store does with jobs, and with nothing else."""

from collections import Counter
from datetime import datetime

from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.defaults.memory_giving_up import GivingUpMachine
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.status import RunStatus, Status


class JobMachine(GivingUpMachine):
    """A machine whose jobs can be changed, given another life, or be forgotten."""

    def retry(self, row: Row, now: datetime) -> bool:
        """Let a job that has ended be ready anew, or one that is timed be due; False: neither."""
        if not self.can_retry(row, now):
            return False
        if row.status.is_terminal:
            self._revive(row)
        self.unique.follow(row, now)
        self._queue(row, None)
        return True

    def can_retry(self, row: Row, now: datetime) -> bool:
        """Whether the job can be retried; not one that has ended while another holds its key."""
        is_taken = row.status.is_terminal and self.unique.successor(row, now) is not None
        return row.is_retryable(now) and not is_taken

    def replace(self, row: Row, by: NewJob, due: datetime | None) -> None:
        """Let a job that is ready be what another would have been."""
        row.arguments, row.queue, row.priority = by.arguments, by.queue, by.priority
        row.limit_key, row.lane = by.limit_key, by.lane
        self._queue(row, due)

    def forget(self, row: Row) -> None:
        """Delete a job that does not run; whoever waits for it hears of it."""
        self.unique.release(row)
        row.ticket += 1
        # Entries of the queues look at the ticket alone, notifications at the status.
        row.status = Status.CANCELLED
        self.ended_jobs.pop(row.id, None)
        del self.rows[row.id]
        self._topics.add(f"job:{row.id}")

    def _revive(self, row: Row) -> None:
        # Not a step of the table in core/status.py: it is the first status of another life.
        del self.ended_jobs[row.id]
        row.error = row.error if row.status is Status.FAILED else None
        row.status = Status.READY
        row.claim += 1
        row.finished_at = row.value = None
        row.is_abort_asked = False
        row.run.status, row.run.finished_at = RunStatus.RUNNING, None
        row.run.open_count, row.run.counts = 1, Counter({Status.READY: 1})
