"""What ``pipeline.asset`` and ``pipeline.job`` give when they are called with options."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from flowstone.core.asset import Asset, Definition
from flowstone.core.job import Job
from flowstone.core.job_context import JobContext
from flowstone.core.results import Cancel, Skip, Snooze

A = ParamSpec("A")
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class AssetDecorator(Protocol):
    """What ``pipeline.asset(...)`` with options gives; typed like ``pipeline.asset`` itself."""

    @overload
    def __call__(self, function: Definition[P, T, R], /) -> Asset[P, T, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Awaitable[T]]: ...
    @overload
    def __call__(self, function: Callable[P, T | Skip | Snooze | Cancel], /) -> Asset[P, T, T]: ...


class JobDecorator(Protocol):
    """What ``pipeline.job(...)`` with options gives; typed like ``pipeline.job`` itself."""

    @overload
    def __call__(
        self,
        function: Callable[
            Concatenate[JobContext, A], Coroutine[Any, Any, T | Skip | Snooze | Cancel]
        ],
        /,
    ) -> Job[A, Concatenate[JobContext, A], T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(
        self, function: Callable[A, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Job[A, A, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, A], T | Skip | Snooze | Cancel], /
    ) -> Job[A, Concatenate[JobContext, A], T, T]: ...
    @overload
    def __call__(self, function: Callable[A, T | Skip | Snooze | Cancel], /) -> Job[A, A, T, T]: ...
