"""The decorator of parallel assets."""

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Literal, ParamSpec, TypeVar, get_args, overload

from flowstone.core import duration
from flowstone.core.asset import Definition
from flowstone.core.errors import InvalidOptionError
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.plugins.parallel.execution import FailureMode
from flowstone.plugins.parallel.strategy import Parallel

P = ParamSpec("P")
T = TypeVar("T")

Mode = Literal["all_or_nothing", "partial"]


class ParallelDecorator:
    """What ``parallel(...)`` gives: it keeps how the function is called, and what it returns."""

    def __init__(self, strategy: Parallel) -> None:
        self._strategy = strategy

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Definition[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[T | Skip | Snooze | Cancel]], /
    ) -> Definition[P, T, Awaitable[T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, T | Skip | Snooze | Cancel], /
    ) -> Definition[P, T, T]: ...

    def __call__(self, function: Callable[..., Any], /) -> Definition[..., Any, Any]:
        return Definition(function, strategy=self._strategy)


def parallel(
    *, failure_mode: Mode = "all_or_nothing", timeout: timedelta | str | float | None = None
) -> ParallelDecorator:
    """
    Compute branches beside each other, and the asset's value from what became of them.

    The function is the join: it is called once the branches of its parameters (`Branch`) have
    ended. It goes below ``@pipeline.asset``.

    Args:
        failure_mode: ``all_or_nothing``: the first branch that fails fails the asset, and stops
            the others. ``partial``: branches may be ``required=False``, which the join is told as
            an `Outcome`; one that is required and fails lets the others end first.
        timeout: How long the branches may take together, from their beginning; one that has not
            ended by then has failed.

    Raises:
        InvalidOptionError: There is no such mode, or the timeout is no duration.
    """
    if failure_mode not in get_args(Mode):
        known = ", ".join(get_args(Mode))
        raise InvalidOptionError(f"failure_mode={failure_mode!r} must be one of {known}")
    limit = None if timeout is None else duration.parse(timeout, option="timeout")
    return ParallelDecorator(Parallel(FailureMode(failure_mode), limit))
