"""Long-lived things that assets are given: connections, clients, models."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a resource works; ``reason`` says why not."""

    is_healthy: bool
    reason: str | None = None

    @classmethod
    def healthy(cls) -> Self:
        """Return that it works."""
        return cls(is_healthy=True)

    @classmethod
    def unhealthy(cls, reason: str) -> Self:
        """Return that it does not work, and why."""
        return cls(is_healthy=False, reason=reason)


class Resource(ABC, Generic[T]):
    """
    Knows how to make a ``T``, end it, and tell whether it works.

    Obligations: `setup` either returns a usable value or raises and leaves nothing behind. Each
    process sets up its own; the value is shared by all assets that run in it.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    async def setup(self, config: Mapping[str, object]) -> T:
        """Return the value; called once per process with the configured options."""

    async def teardown(self, resource: T) -> None:
        """End it; called once for a value that `setup` returned."""

    async def health_check(self, resource: T) -> Health:
        """Return whether the value works; the default trusts it. An exception is unhealthy too."""
        return Health.healthy()


# Any: each entry is a resource of its own type, and Resource is invariant.
AnyResource: TypeAlias = Resource[Any] | type[Resource[Any]]
Configured: TypeAlias = AnyResource | tuple[AnyResource, Mapping[str, object]]
"""A resource, or a pair of one and its configuration."""
