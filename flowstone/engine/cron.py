"""
Cron expressions, by cronsim, which keeps to what Debian's cron does when the clocks change.

The plugin ``cron`` is this module: it is imported when an application has a schedule, and needs no
database.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flowstone.core.contracts.cron_parser import CronParser
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.errors import InvalidOptionError
from flowstone.core.registry import DEFAULT

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class CronSimParser(CronParser):
    """
    Five fields, six with seconds before them, or a nickname such as ``@daily``.

    Beyond the classic syntax: names (``MON-FRI``), ``L`` (the last day of the month, ``5L`` its
    last Friday), ``LW``, ``1#2`` (the second Monday).
    """

    contract_version: ClassVar[str] = "1.0.0"

    def ticks(self, expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
        zone = _zone(timezone)
        try:
            simulated = CronSim(
                NICKNAMES.get(expression.strip().lower(), expression), after.astimezone(zone)
            )
        except CronSimError as error:
            raise InvalidOptionError(
                f"cron {expression!r}: {str(error).lower()}; five fields are wanted, "
                '"minute hour day month weekday", such as "0 8 * * MON-FRI"'
            ) from None
        return _ascending(simulated, after)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidOptionError(
            f"timezone {name!r} is none of the IANA database; write one such as 'Europe/Berlin'"
        ) from None


def _ascending(simulated: Iterator[datetime], after: datetime) -> Iterator[datetime]:
    """
    Yield what is later than what came before it.

    Two times of a wall clock that fall into the same gap come at the same instant, and from within
    a repeated hour the first of the two is in the past.
    """
    # In UTC: otherwise instants of one zone are compared by their wall clocks, and in an hour that
    # comes twice none equals one of another zone.
    last = after.astimezone(UTC)
    for local in simulated:
        tick = local.astimezone(UTC)
        if tick > last:
            last = tick
            yield tick


class CronPlugin(Plugin):
    """Brings the parser that applications use without another."""

    name = "cron"

    def register(self, registries: Registries) -> None:
        registries.cron_parsers.register(DEFAULT, CronSimParser)


plugin = CronPlugin()
