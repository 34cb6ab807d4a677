"""What gates tell telemetry."""

from datetime import timedelta

from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.telemetry_catalogue import EventSpec
from flowstone.plugins.signal_gate.coordinator import Gate

_WHICH = ("gate_id", "materialization_id", "run_id", "asset", "partition")

EVENTS = (
    EventSpec("signal_gate.create", ("timeout_ms",), _WHICH, "A gate was opened"),
    EventSpec("signal_gate.signal", ("wait_duration_ms",), _WHICH, "A signal was accepted"),
    EventSpec("signal_gate.keep", (), ("token_hash",), "A signal came before its gate"),
    EventSpec(
        "signal_gate.refused",
        ("wait_duration_ms",),
        (*_WHICH, "reason"),
        "A signal was refused: late, another one came before, or not what on_signal takes",
    ),
    EventSpec("signal_gate.timeout", ("wait_duration_ms",), _WHICH, "A gate's time was up"),
    EventSpec(
        "signal_gate.timeout_retry",
        ("wait_duration_ms",),
        _WHICH,
        "A gate's time was up, and it waits on",
    ),
    EventSpec("signal_gate.cancel", ("wait_duration_ms",), _WHICH, "Somebody closed a gate"),
)
"""The plugin's part of the catalogue. A gate that ends with its run tells nothing of its own."""


def tell(
    telemetry: TelemetryEmitter,
    what: str,
    gate: Gate,
    *,
    timeout_ms: float | None = None,
    **facts: object,
) -> None:
    """Tell an event of a gate; what is measured is how long it has waited, or is to wait."""
    measured = {"wait_duration_ms": gate.waited / timedelta(milliseconds=1)}
    if what == "create":
        measured = {} if timeout_ms is None else {"timeout_ms": timeout_ms}
    which = {
        "gate_id": gate.id,
        "materialization_id": gate.materialization_id,
        "run_id": gate.run_id,
        "asset": gate.asset,
        "partition": gate.partition,
    }
    telemetry.execute(f"signal_gate.{what}", measured, {**which, **facts})
