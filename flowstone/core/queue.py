"""What code says about a queue: ``FlowStone(..., queues={"mail": Queue(rate="10/s")})``."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowstone.core import rate as rates
from flowstone.core.contracts.queue_records import QueueLimits
from flowstone.core.errors import InvalidOptionError
from flowstone.core.options import OptionReader
from flowstone.core.rate import MOST, Rate


@dataclass(frozen=True, slots=True)
class Queue:
    """
    Limits of a queue, over all workers together.

    Args:
        max_running: How many of it may run at once.
        rate: How many of it may start, such as ``"100/m"``: in any minute.
    """

    max_running: int | None = None
    rate: Rate | str | None = None

    @property
    def limits(self) -> QueueLimits:
        """
        What stores know of it.

        Raises:
            InvalidOptionError: One is not acceptable.
        """
        return QueueLimits(checked_max_running(self.max_running), checked_rate(self.rate))


def checked_max_running(value: object) -> int | None:
    """Return the number, or raise `InvalidOptionError`."""
    if value is None or (type(value) is int and 1 <= value <= MOST):
        return value
    raise InvalidOptionError(
        f"max_running={value!r} must be a whole number above 0, or None for no limit; to let "
        "nothing run, pause the queue"
    )


def checked_rate(value: Rate | str | None) -> Rate | None:
    """Return the rate, or raise `InvalidOptionError`."""
    return None if value is None else rates.parse(value)


def checked_name(value: object) -> str:
    """Return the name of a queue, or raise `InvalidOptionError`."""
    read = OptionReader()
    name = read.queue(value)
    if name is None:
        raise InvalidOptionError("; ".join(read.objections) or "a queue needs a name")
    return name


def limits_of(queues: Mapping[str, Queue] | None) -> Mapping[str, QueueLimits]:
    """Return the limits that code says, by the queue's name, or raise `InvalidOptionError`."""
    limits = {}
    for name, queue in (queues or {}).items():
        if not isinstance(queue, Queue):
            raise InvalidOptionError(f"queues: {name!r} must be a Queue(...), not {queue!r}")
        try:
            limits[checked_name(name)] = queue.limits
        except InvalidOptionError as error:
            raise InvalidOptionError(f"queues: {name!r}: {error}") from error
    return limits
