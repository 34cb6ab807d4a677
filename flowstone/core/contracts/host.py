"""The application as what a plugin brings sees it: `FlowStone`, without what needs its types."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from flowstone.core.asset import Asset
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.store import RunRecord, Store
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter

T = TypeVar("T")


class Submitted(Protocol):
    """A run that was enqueued; in truth a `RunHandle`."""

    @property
    def run_id(self) -> int:
        """What rows and commands call it."""

    async def status(self) -> RunRecord:
        """Return the run as it stands."""

    async def wait(self, timeout: timedelta | str | float | None = None) -> RunRecord:
        """Return the run once it has ended."""


class HostResources(Protocol):
    """What assets get for ``Requires(Type)``."""

    def get(self, kind: type[T]) -> T:
        """Return the value for a type; raises `ResourceUnavailableError`."""


class HostDefinitions(Protocol):
    """The assets of an application, already checked."""

    def __iter__(self) -> Iterator[Asset[..., object]]:
        """In the order of definition."""

    def find(self, name: str) -> Asset[..., object] | None:
        """Return an asset by its full name, or one that it had before."""


class Host(Protocol):
    """An open application; each member is that of `FlowStone`."""

    @property
    def dsn(self) -> str | None:
        """The database; None is memory."""

    @property
    def schema(self) -> str:
        """Where the tables are in it."""

    @property
    def definitions(self) -> HostDefinitions:
        """The assets that it knows."""

    @property
    def store(self) -> Store:
        """Runs and materializations: ``wake`` lets a waiting one go on."""

    @property
    def codec(self) -> Codec:
        """What turns values into JSON and back."""

    @property
    def telemetry(self) -> TelemetryEmitter:
        """To tell the events that the plugin has added to the catalogue."""

    @property
    def resources(self) -> HostResources:
        """What assets get for ``Requires(Type)``."""

    def coordinator(self, contract: Callable[..., T]) -> T:
        """Return what keeps the state of a kind of asset; raises `NotRegisteredError`."""

    async def enqueue(
        self,
        target: str,
        /,
        *,
        partition: object = ...,
        force: bool = ...,
        dedupe: str | None = ...,
        queue: str | None = ...,
        at: datetime | None = ...,
    ) -> Submitted:
        """Leave an asset to workers."""

    async def get(self, target: str, /, *, partition: object = ...) -> object:
        """Return a stored value."""

    async def exists(self, target: str, /, *, partition: object = ...) -> bool:
        """Return whether there is a stored value that was not invalidated."""
