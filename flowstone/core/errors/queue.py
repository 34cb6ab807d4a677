"""What went otherwise with a queue."""

from datetime import timedelta

from flowstone.core.errors.root import FlowStoneError


class QueueNotDrainedError(FlowStoneError):
    """
    The queue did not become empty in the time that its waiter had; its work goes on.

    Attributes:
        queue: Its name.
        timeout: How long the waiter had.
    """

    code = "queue_not_drained"

    def __init__(self, queue: str, timeout: timedelta, *, running: int, due: int) -> None:
        self.queue = queue
        self.timeout = timeout
        self.running = running
        self.due = due
        seconds = timeout.total_seconds()
        super().__init__(
            f"queue {queue!r} is not drained after {seconds:g}s: {running} run, {due} are due",
            context={"queue": queue, "timeout_seconds": seconds},
        )
