"""What the contexts of assets and of jobs have in common: a logger, resources, the wish to stop."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from flowstone.core.errors import NotRegisteredError

T = TypeVar("T")


class ResourceLookup(Protocol):
    """How a context finds a resource."""

    def __call__(self, kind: type[T], /) -> T:
        """Return it, or raise `NotRegisteredError` or `ResourceUnavailableError`."""


class Cancellation:
    """Whether an attempt was asked to stop; made by its worker, polled from any thread."""

    __slots__ = ("is_requested",)

    def __init__(self) -> None:
        self.is_requested = False

    def request(self) -> None:
        """Ask for it; asking again changes nothing."""
        self.is_requested = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext:
    """
    One attempt, as the author's function sees it.

    Attributes:
        attempt: 1 for the first; a snooze gives it back.
    """

    attempt: int = 1
    resources: ResourceLookup | None = field(default=None, repr=False)
    cancellation: Cancellation | None = field(default=None, repr=False)

    @abstractmethod
    def _facts(self) -> Mapping[str, object]:
        """Return what a log record should carry."""

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """The logger ``flowstone.asset``, whose records carry this context's facts."""
        return _ContextLogger(logging.getLogger("flowstone.asset"), self._facts())

    def resource(self, kind: type[T]) -> T:
        """
        Return a resource that is only known while the function runs.

        Where it is known before, ``Requires(Type)`` is better: it is part of the asset's
        description, and a test can pass another one.

        Raises:
            NotRegisteredError: There is no such resource.
            ResourceUnavailableError: Its set-up failed.
        """
        if self.resources is None:
            raise NotRegisteredError("resource", kind.__qualname__)
        return self.resources(kind)

    def is_cancelled(self) -> bool:
        """
        Return whether this attempt was asked to stop.

        For plain functions, which run in a thread that nobody can interrupt; an async function is
        cancelled at its next ``await``.
        """
        return self.cancellation is not None and self.cancellation.is_requested


class _ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the context's facts to each record, below those that the caller gives."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, object]
    ) -> tuple[object, MutableMapping[str, object]]:
        given = kwargs.get("extra")
        kwargs["extra"] = {**(self.extra or {}), **(given if isinstance(given, Mapping) else {})}
        return msg, kwargs
