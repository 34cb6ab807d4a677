"""Assets that wait for a signal from outside: a webhook, a finished task, somebody's word."""

from flowstone.plugins.signal_gate.asgi import signals_app
from flowstone.plugins.signal_gate.callbacks import Callbacks
from flowstone.plugins.signal_gate.coordinator import (
    Answer,
    Answered,
    Gate,
    GateCoordinator,
    GateStatus,
    NewGate,
    TimeoutAction,
)
from flowstone.plugins.signal_gate.definition import signal_gate
from flowstone.plugins.signal_gate.errors import (
    AlreadySignaledError,
    GateCancelledError,
    GateExpiredError,
    GateTimeoutError,
    PayloadRefusedError,
    SignalGateError,
    SignalRefusedError,
    TokenError,
)
from flowstone.plugins.signal_gate.plugin import SignalGates
from flowstone.plugins.signal_gate.signaling import signal
from flowstone.plugins.signal_gate.wait import Callback, Wait

__all__ = [
    "AlreadySignaledError",
    "Answer",
    "Answered",
    "Callback",
    "Callbacks",
    "Gate",
    "GateCancelledError",
    "GateCoordinator",
    "GateExpiredError",
    "GateStatus",
    "GateTimeoutError",
    "NewGate",
    "PayloadRefusedError",
    "SignalGateError",
    "SignalGates",
    "SignalRefusedError",
    "TimeoutAction",
    "TokenError",
    "Wait",
    "signal",
    "signal_gate",
    "signals_app",
]
