"""An emitter that an application brings, kept from harming the work that it is told of."""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager

from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.telemetry import Telemetry, listens

logger = logging.getLogger("flowstone.telemetry")


def quiet(emitter: TelemetryEmitter) -> TelemetryEmitter:
    """Return an emitter that does not raise; `Telemetry` is one already."""
    return emitter if isinstance(emitter, Telemetry) else QuietEmitter(emitter)


class QuietEmitter:
    """Passes everything on, and logs what the emitter raises instead of letting it through."""

    def __init__(self, emitter: TelemetryEmitter) -> None:
        self._emitter = emitter

    def enabled(self, event: str) -> bool:
        """Return whether somebody may be listening; see `Telemetry.enabled`."""
        try:
            return listens(self._emitter, event)
        except Exception:
            logger.exception("the telemetry emitter failed on %s", event)
            return False

    def execute(
        self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        """Tell one event."""
        try:
            self._emitter.execute(event, measurements, metadata)
        except Exception:
            logger.exception("the telemetry emitter failed on %s", event)

    @contextmanager
    def span(
        self, event: str, metadata: Mapping[str, object]
    ) -> Iterator[MutableMapping[str, float]]:
        """Tell the beginning and the end of a block, which goes on whatever the emitter does."""
        try:
            context = self._emitter.span(event, metadata)
            measurements = context.__enter__()
        except Exception:
            logger.exception("the telemetry emitter failed on %s", event)
            yield {}
            return
        try:
            yield measurements
        except BaseException as error:
            self._leave(event, context, error)
            raise
        else:
            self._leave(event, context, None)

    def _leave(
        self,
        event: str,
        context: AbstractContextManager[MutableMapping[str, float]],
        error: BaseException | None,
    ) -> None:
        try:
            context.__exit__(type(error) if error else None, error, None)
        except Exception as raised:
            if raised is not error:
                logger.exception("the telemetry emitter failed on %s", event)
