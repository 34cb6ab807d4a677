"""What every telemetry emitter has to do."""

from collections.abc import Mapping
from typing import TypeAlias

import pytest

from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.testing.conformance import answers

Heard: TypeAlias = list[tuple[str, Mapping[str, float], Mapping[str, object]]]


class TelemetryEmitterContract:
    """
    Subclass it with the fixtures ``emitter`` and ``heard``.

    ``heard`` is the list of what the emitter told, in order: event with the prefix ``flowstone.``,
    measurements, metadata.
    """

    @pytest.fixture
    def emitter(self) -> TelemetryEmitter:
        """Give the emitter."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `emitter`")

    @pytest.fixture
    def heard(self, emitter: TelemetryEmitter) -> Heard:
        """Give the list that grows with what the emitter tells."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `heard`")

    def test_it_has_the_shape_of_an_emitter(self, emitter: TelemetryEmitter) -> None:
        assert isinstance(emitter, TelemetryEmitter)

    def test_an_event_is_told_with_numbers_and_facts(
        self, emitter: TelemetryEmitter, heard: Heard
    ) -> None:
        emitter.execute("error", {"count": 1}, {"type": "timeout", "asset": "p.a"})

        event, measurements, metadata = heard[-1]
        assert event == "flowstone.error"
        assert measurements["count"] == 1
        assert metadata["asset"] == "p.a"

    @answers(510)
    def test_a_span_starts_and_stops(self, emitter: TelemetryEmitter, heard: Heard) -> None:
        def work() -> int:
            with emitter.span("io.load", {"asset": "p.a"}) as measurements:
                measurements["size_bytes"] = 3
                return 7

        result = work()

        assert result == 7
        (start, began, facts), (stop, took, _) = heard[-2:]
        assert (start, stop) == ("flowstone.io.load.start", "flowstone.io.load.stop")
        assert facts["asset"] == "p.a"
        assert began["system_time"] > 0
        assert took["duration"] >= 0
        assert took["size_bytes"] == 3

    @answers(511)
    def test_a_span_that_fails_tells_the_error_and_lets_it_go_on(
        self, emitter: TelemetryEmitter, heard: Heard
    ) -> None:
        error = ValueError("boom")

        with pytest.raises(ValueError, match="boom") as caught, emitter.span("io.store", {}):
            raise error

        assert caught.value is error
        (start, _, _), (exception, took, facts) = heard[-2:]
        assert start == "flowstone.io.store.start"
        assert exception == "flowstone.io.store.exception"
        assert took["duration"] >= 0
        assert facts["error"] is error

    def test_spans_in_one_another_do_not_mix(self, emitter: TelemetryEmitter, heard: Heard) -> None:
        with emitter.span("materialization", {"asset": "a"}), emitter.span("io.load", {}) as inner:
            inner["size_bytes"] = 1

        names = [event.removeprefix("flowstone.") for event, _, _ in heard[-4:]]
        assert names == [
            "materialization.start",
            "io.load.start",
            "io.load.stop",
            "materialization.stop",
        ]
        assert "size_bytes" not in heard[-1][1]
