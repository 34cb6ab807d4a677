"""Who is told what happens: the telemetry emitter's protocol."""

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


@runtime_checkable
class TelemetryEmitter(Protocol):
    """
    Receives every event.

    Event names are those of `flowstone.core.telemetry_catalogue`, without the product's prefix.
    Obligations: emitting never raises for a listener's fault, never blocks, and is called from
    several threads. An emitter may also have ``enabled(event) -> bool``, which spares the hot path
    from gathering facts that nobody hears; without it every event is emitted.
    """

    def execute(
        self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        """Tell one event."""

    def span(
        self, event: str, metadata: Mapping[str, object]
    ) -> AbstractContextManager[MutableMapping[str, float]]:
        """
        Tell the beginning and the end of a block.

        ``<event>.start`` has ``system_time`` (seconds since the epoch); ``<event>.stop`` has
        ``duration`` in milliseconds and what the block put into the mapping it was given; an
        exception makes it ``<event>.exception`` with ``duration``, and ``error`` in the metadata,
        and goes on.
        """
