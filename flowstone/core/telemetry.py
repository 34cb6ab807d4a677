"""
What happens, told to whoever listens.

The events are listed in `telemetry_catalogue`. A handler gets ``flowstone.<event>``, the
measurements and the metadata. A handler that fails is logged and ignored: telemetry never harms the
work that it tells of.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType

from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.telemetry_catalogue import SPAN_PARTS, Catalogue

PREFIX = "flowstone."

Handler = Callable[[str, Mapping[str, float], Mapping[str, object]], None]
"""Called with the prefixed event name, measurements and metadata; must not block."""

_log = logging.getLogger("flowstone.telemetry")


class Telemetry:
    """
    The default emitter: calls the handlers that are attached to it.

    Handlers run where the event happens, in the order of attaching. Attaching and detaching are
    safe from any thread and take effect with the next event.
    """

    def __init__(self, catalogue: Catalogue | None = None) -> None:
        self.catalogue = Catalogue() if catalogue is None else catalogue
        self._lock = threading.Lock()
        self._attached: list[tuple[Handler, frozenset[str] | None]] = []
        self._handlers: dict[str, tuple[Handler, ...]] = {}

    def attach(self, handler: Handler, events: Iterable[str] | None = None) -> Callable[[], None]:
        """
        Call the handler with these events, and return what stops that.

        Args:
            events: Names, with or without the prefix; None is every event. Naming a span's base,
                such as ``io.load``, is not enough: name its events.

        Raises:
            NotRegisteredError: There is no such event.
        """
        names = None if events is None else frozenset(map(self._known, events))
        attachment = (handler, names)
        with self._lock:
            self._attached = [*self._attached, attachment]
            self._handlers = {}

        def detach() -> None:
            with self._lock:
                self._attached = [kept for kept in self._attached if kept is not attachment]
                self._handlers = {}

        return detach

    def enabled(self, event: str) -> bool:
        """
        Return whether anybody listens, so that a hot path need not gather what nobody hears.

        For a span, given by its base name, this asks for any of its three events.

        Raises:
            NotRegisteredError: There is no such event or span, and somebody listens.
        """
        if not self._attached:
            return False
        names = [event] if event in self.catalogue else [f"{event}.{part}" for part in SPAN_PARTS]
        return any(map(self._listening, names))

    def execute(
        self,
        event: str,
        measurements: Mapping[str, float],
        metadata: Mapping[str, object],
    ) -> None:
        """
        Tell one event.

        Raises:
            NotRegisteredError: There is no such event.
        """
        for handler in self._listening(event):
            try:
                handler(PREFIX + event, measurements, metadata)
            except Exception:
                _log.exception("a telemetry handler failed on %s%s", PREFIX, event)

    def span(self, event: str, metadata: Mapping[str, object]) -> "Span":
        """
        Tell the beginning and the end of a block; see `TelemetryEmitter.span`.

        Raises:
            NotRegisteredError: There is no such span; raised on entering.
        """
        return Span(self, event, metadata)

    def _known(self, event: str) -> str:
        name = event.removeprefix(PREFIX)
        if name not in self.catalogue:
            raise self.catalogue.unknown(name)
        return name

    def _listening(self, event: str) -> tuple[Handler, ...]:
        handlers = self._handlers.get(event)
        if handlers is not None:
            return handlers
        if event not in self.catalogue:
            raise self.catalogue.unknown(event)
        with self._lock:
            found = tuple(h for h, names in self._attached if names is None or event in names)
            self._handlers[event] = found
        return found


class Span:
    """One block between start and stop. Entering gives the mapping of the stop's measurements."""

    __slots__ = ("_emitter", "_event", "_measurements", "_metadata", "_started")

    def __init__(self, emitter: Telemetry, event: str, metadata: Mapping[str, object]) -> None:
        self._emitter = emitter
        self._event = event
        self._metadata = metadata
        self._measurements: dict[str, float] = {}
        self._started = 0.0

    def __enter__(self) -> MutableMapping[str, float]:
        self._emitter.execute(f"{self._event}.start", {"system_time": time.time()}, self._metadata)
        self._started = time.perf_counter()
        return self._measurements

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._measurements["duration"] = (time.perf_counter() - self._started) * 1000
        if error is None:
            self._emitter.execute(f"{self._event}.stop", self._measurements, self._metadata)
        else:
            self._emitter.execute(
                f"{self._event}.exception",
                {"duration": self._measurements["duration"]},
                {**self._metadata, "error": error},
            )


def listens(emitter: TelemetryEmitter, event: str) -> bool:
    """Return whether telling this event reaches anybody, as far as the emitter can say."""
    enabled = getattr(emitter, "enabled", None)
    return bool(enabled(event)) if callable(enabled) else True
