"""
How long what has ended is kept.

Never pruned, however old: an asset's current values and their materializations, what they were made
from (without its value), runs that are open and all that they will load. See docs/operating.md.
"""

from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import TypeAlias

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError

Period: TypeAlias = timedelta | str | float | None

SHORTEST = timedelta(hours=1)
"""Whoever plans a run on what is current has this long to commit it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How long finished work is kept; None is for ever.

    Args:
        runs: A run, from its end, with all that only it holds: materializations, values, lineage,
            jobs and their events. For as long a repeat of its ``dedupe`` finds it.
        failed: The same, of a run that failed.
        values: A value, from when it was replaced as its asset's current one and its run has
            ended; at the latest it goes with its run. What an IO manager holds is then swept as an
            orphan.

    Raises:
        InvalidOptionError: A period is not a duration, or shorter than an hour.
    """

    runs: Period = timedelta(days=30)
    _: KW_ONLY
    failed: Period = timedelta(days=90)
    values: Period = timedelta(days=7)

    def __post_init__(self) -> None:
        for name in ("runs", "failed", "values"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))

    @property
    def milliseconds(self) -> tuple[int | None, int | None, int | None]:
        """The periods ``(runs, failed, values)`` in whole milliseconds."""
        return (_milliseconds(self.runs), _milliseconds(self.failed), _milliseconds(self.values))


def checked(retention: object) -> Retention:
    """Return the policy, or refuse what is none."""
    if not isinstance(retention, Retention):
        raise InvalidOptionError(
            f"retention={retention!r} is no policy; write Retention('30d'), Retention('30d', "
            "failed='90d', values='7d'), or None to keep everything"
        )
    return retention


def _checked(name: str, period: Period) -> timedelta | None:
    if period is None:
        return None
    checked = duration.parse(period, option=name)
    if checked < SHORTEST:
        raise InvalidOptionError(
            f"{name}={period!r} is too short to keep anything: an hour is the least; write '1h', "
            "or None to keep it for ever"
        )
    return checked


def _milliseconds(period: Period) -> int | None:
    return None if period is None else duration.parse(period) // timedelta(milliseconds=1)


DEFAULT_RETENTION = Retention()
"""What an application without ``retention=`` has."""
