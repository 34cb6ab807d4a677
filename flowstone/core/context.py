"""
What an asset's function may know about the attempt that it belongs to.

A parameter annotated ``Context`` gets it; ``Context[date]`` says what the partition is::

    @sales.asset
    async def orders(ctx: Context[date], shop: Shop = Requires(Shop)) -> Orders:
        ctx.log.info("reading %s", ctx.partition)
        return await shop.orders(day=ctx.partition)
"""

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from flowstone.core.errors import NotRegisteredError

T = TypeVar("T")

if TYPE_CHECKING:
    # Checkers know defaults (PEP 696) before Python 3.13 does: a bare ``Context`` is not an error.
    PT_co = TypeVar(  # pyright: ignore[reportGeneralTypeIssues]
        "PT_co", covariant=True, default=object
    )
else:
    PT_co = TypeVar("PT_co", covariant=True)

_NO_SLOTS: Mapping[type, object] = MappingProxyType({})


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
class Context(Generic[PT_co]):
    """
    One attempt at one asset.

    Attributes:
        asset: The asset's full name.
        partition: Which slice of it; None when the run has no partition.
        run_id: The run that wants it.
        materialization_id: Identifies this materialization, whatever its attempts.
        attempt: 1 for the first; a snooze gives it back.
        worker: The id of the worker, or None where there is none.
    """

    asset: str
    partition: PT_co
    run_id: int
    materialization_id: int
    attempt: int = 1
    worker: int | None = None
    resources: ResourceLookup | None = field(default=None, repr=False)
    slots: Mapping[type, object] = field(default_factory=lambda: _NO_SLOTS, repr=False)
    cancellation: Cancellation | None = field(default=None, repr=False)

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """The logger ``flowstone.asset``, whose records carry this context's facts."""
        return _ContextLogger(
            logging.getLogger("flowstone.asset"),
            {
                "asset": self.asset,
                "partition": self.partition,
                "run_id": self.run_id,
                "materialization_id": self.materialization_id,
                "attempt": self.attempt,
            },
        )

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

    def slot(self, kind: type[T]) -> T:
        """
        Return what the plugin of the asset's strategy left for the function.

        Raises:
            NotRegisteredError: No plugin left anything of this type.
        """
        value = self.slots.get(kind)
        if not isinstance(value, kind):
            known = [known.__qualname__ for known in self.slots]
            raise NotRegisteredError("context slot", kind.__qualname__, known)
        return value

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
