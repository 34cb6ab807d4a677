import pytest

from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.telemetry import Telemetry
from flowstone.testing.contracts.telemetry_emitter_contract import Heard, TelemetryEmitterContract


class TestTelemetry(TelemetryEmitterContract):
    @pytest.fixture
    def emitter(self) -> Telemetry:
        return Telemetry()

    @pytest.fixture
    def heard(self, emitter: TelemetryEmitter) -> Heard:
        assert isinstance(emitter, Telemetry)
        events: Heard = []
        emitter.attach(lambda *event: events.append(event))
        return events
