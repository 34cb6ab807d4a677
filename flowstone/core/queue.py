"""What code says about a queue: ``FlowStone(..., queues={"mail": Queue(rate="10/s")})``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from flowstone.core import rate as rates
from flowstone.core.contracts.queue_records import LimitChanges, QueueLimits
from flowstone.core.errors import InvalidOptionError
from flowstone.core.options import OptionReader
from flowstone.core.rate import MOST, Rate


class GivenLimits(TypedDict, total=False):
    """Limits as people write them; None is no limit."""

    max_running: int | None
    rate: Rate | str | None
    max_running_per_key: int | None
    rate_per_key: Rate | str | None


@dataclass(frozen=True, slots=True)
class Queue:
    """
    Limits of a queue, over all workers together.

    Args:
        max_running: How many of it may run at once.
        rate: How many of it may start, such as ``"100/m"``: in any minute.
        key: The argument, such as ``"tenant"``, by which its jobs are told apart: those with one
            value of it share the limits that follow. A job that has no such argument, or None as
            its value, has only the limits above.
        max_running_per_key: How many with one key may run at once.
        rate_per_key: How many with one key may start.
    """

    max_running: int | None = None
    rate: Rate | str | None = None
    key: str | None = None
    max_running_per_key: int | None = None
    rate_per_key: Rate | str | None = None

    @property
    def limits(self) -> QueueLimits:
        """
        What stores know of it.

        Raises:
            InvalidOptionError: One is not acceptable.
        """
        if self.key is None and (self.max_running_per_key or self.rate_per_key):
            raise InvalidOptionError(
                'limits per key need to know the key: key="tenant", the name of an argument'
            )
        if self.key is not None and not (isinstance(self.key, str) and self.key.isidentifier()):
            raise InvalidOptionError(f"key={self.key!r} must be the name of an argument")
        given = GivenLimits(
            max_running=self.max_running,
            rate=self.rate,
            max_running_per_key=self.max_running_per_key,
            rate_per_key=self.rate_per_key,
        )
        return QueueLimits(**checked_limits(given))


def checked_limits(given: GivenLimits) -> LimitChanges:
    """Return the limits as stores know them, or raise `InvalidOptionError`."""
    checked: LimitChanges = {}
    if "max_running" in given:
        checked["max_running"] = _count("max_running", given["max_running"])
    if "rate" in given:
        checked["rate"] = _rate("rate", given["rate"])
    if "max_running_per_key" in given:
        checked["max_running_per_key"] = _count("max_running_per_key", given["max_running_per_key"])
    if "rate_per_key" in given:
        checked["rate_per_key"] = _rate("rate_per_key", given["rate_per_key"])
    alien = sorted(given.keys() - LimitChanges.__annotations__.keys())
    if alien:
        known = ", ".join(LimitChanges.__annotations__)
        raise InvalidOptionError(f"{', '.join(alien)}: no such limit; there are {known}")
    return checked


def _count(option: str, value: object) -> int | None:
    if value is None or (type(value) is int and 1 <= value <= MOST):
        return value
    raise InvalidOptionError(
        f"{option}={value!r} must be a whole number above 0, or None for no limit; to let "
        "nothing run, pause the queue"
    )


def _rate(option: str, value: Rate | str | None) -> Rate | None:
    return None if value is None else rates.parse(value, option=option)


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
