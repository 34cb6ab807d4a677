"""Errors of schedules, told to who asks for one by name."""

from collections.abc import Iterable

from flowstone.core.errors.root import FlowStoneError, unknown
from flowstone.core.suggestion import suggest


class ScheduleError(FlowStoneError):
    """
    A schedule cannot be what was asked for.

    Attributes:
        name: The schedule.
    """

    code = "schedule_error"

    def __init__(self, name: str, message: str | None = None) -> None:
        self.name = name
        super().__init__(message, context={"name": name})


class ScheduleNotFoundError(ScheduleError):
    """
    There is no such schedule.

    Attributes:
        available: The names that there are.
        suggestion: The one that was probably meant, or None.
    """

    code = "schedule_not_found"

    def __init__(self, name: str, available: Iterable[str] = ()) -> None:
        self.available = tuple(sorted(available))
        self.suggestion = suggest(name, self.available)
        super().__init__(
            name, unknown(f"schedule '{name}' does not exist", self.available, self.suggestion)
        )


class ScheduleInCodeError(ScheduleError):
    """The schedule is defined in code, which would bring it back when a worker starts."""

    code = "schedule_in_code"

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            f"schedule '{name}' is defined in code, and is changed there; app.schedules.pause"
            f"('{name}'), or flowstone schedule pause {name}, stops it",
        )
