"""What a cron expression means: the parser's contract, so that core needs no library for it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar


class CronParser(ABC):
    """
    Reads cron expressions.

    A plugin brings one in the registry ``cron_parsers``; the one called ``default`` is used, and
    without any the installed plugin ``cron`` is loaded.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    def ticks(self, expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
        """
        Return the ticks after an instant, in UTC: ascending, each once.

        Five fields, minute to weekday: a wall clock's time that a change of the clocks leaves out
        comes at the first instant after the gap, and one that it repeats comes once, the first
        time. What counts minutes or hours from ``*`` goes on evenly through both. It ends where the
        expression is not met within fifty years.

        Args:
            timezone: Whose wall clock the expression is about; a name of the IANA database.
            after: An instant with a time zone, whichever.

        Raises:
            InvalidOptionError: The expression or the time zone is none; raised at once, not by the
                iterator.
        """
