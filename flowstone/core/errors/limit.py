"""Errors of the application's own limits."""

from collections.abc import Iterable
from datetime import timedelta

from flowstone.core.errors.definition import DefinitionError
from flowstone.core.errors.root import FlowStoneError, unknown
from flowstone.core.suggestion import suggest


class UnknownLimitError(DefinitionError):
    """
    There is no such limit.

    Attributes:
        name: What was asked for.
    """

    code = "limit_unknown"

    def __init__(self, name: str, available: Iterable[str] = ()) -> None:
        self.name = name
        known = sorted(available)
        message = unknown(f"limit '{name}' does not exist", known, suggest(name, known))
        super().__init__(
            f'{message} Write FlowStone(..., limits={{"{name}": Limit(...)}})',
            context={"name": name},
        )


class LimitTimeoutError(FlowStoneError):
    """
    A limit was not to be had in the time that there was; trying again later can help.

    Attributes:
        name: The limit.
        waited: How long there was.
    """

    code = "limit_timeout"
    retryable = True

    def __init__(self, name: str, waited: timedelta) -> None:
        self.name = name
        self.waited = waited
        seconds = waited.total_seconds()
        super().__init__(
            f"limit '{name}' was not to be had in {seconds:g}s",
            context={"name": name, "waited_seconds": seconds},
        )
