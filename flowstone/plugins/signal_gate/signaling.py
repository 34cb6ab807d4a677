"""How a signal is sent from Python: checked at the border, then left to the coordinator."""

from collections.abc import Callable

from flowstone.core.contracts.host import Host
from flowstone.core.errors import ValueNotReadableError
from flowstone.core.json_value import JsonText, JsonValue
from flowstone.plugins.signal_gate.coordinator import Answer, Answered, GateCoordinator
from flowstone.plugins.signal_gate.errors import (
    AlreadySignaledError,
    GateCancelledError,
    GateExpiredError,
    PayloadRefusedError,
    SignalRefusedError,
)
from flowstone.plugins.signal_gate.events import tell
from flowstone.plugins.signal_gate.strategy import Gated
from flowstone.plugins.signal_gate.token import checked_token, token_hash

_REFUSALS: dict[Answer, Callable[[str], SignalRefusedError]] = {
    Answer.ALREADY_SIGNALED: AlreadySignaledError,
    Answer.EXPIRED: GateExpiredError,
    Answer.CANCELLED: GateCancelledError,
}


async def signal(
    app: Host, token: str, payload: object = None, *, sender: JsonValue = None
) -> Answered:
    """
    Send the signal of a gate, whose materialization then goes on.

    Sent again with the same payload it changes nothing, and is answered as before. One that comes
    before its gate is open is kept for it.

    Args:
        app: An open application.
        token: The gate's own: what its `Wait` was given.
        payload: Whatever the application's codec can write: JSON, dataclasses, models …
        sender: Who it is, for people; a JSON object.

    Raises:
        PayloadRefusedError: It is not what ``on_signal`` takes.
        AlreadySignaledError: Another payload came before.
        GateExpiredError: The gate's time was up.
        GateCancelledError: What waited at it has ended.
        ValueNotStorableError: The codec cannot write the payload.
        InvalidOptionError: The token is none.
    """
    return await signal_text(app, token, app.codec.encode(payload), sender=sender)


async def signal_text(
    app: Host, token: str, payload: JsonText, *, sender: JsonValue = None
) -> Answered:
    """Send a signal whose payload is JSON text already; raises as `signal` does."""
    gates = app.coordinator(GateCoordinator)
    gate = await gates.find(checked_token(token))
    is_checked = False
    if gate is not None and gate.is_open:
        asset = app.definitions.find(gate.asset)
        strategy = None if asset is None else asset.find_strategy(Gated)
        if asset is not None and strategy is not None:
            try:
                strategy.payload_of(asset, payload, app.codec)
            except ValueNotReadableError as error:
                tell(app.telemetry, "refused", gate, reason=str(error))
                raise PayloadRefusedError(token, f"at {error.path}: {error.why}") from error
            is_checked = True
    answered = await gates.signal(
        token,
        payload,
        sender=None if sender is None else app.codec.encode(sender),
        is_checked=is_checked,
    )
    _tell(app, token, answered)
    if answered.answer in _REFUSALS:
        raise _REFUSALS[answered.answer](token)
    return answered


def _tell(app: Host, token: str, answered: Answered) -> None:
    if answered.answer is Answer.ACCEPTED and answered.gate is not None:
        tell(app.telemetry, "signal", answered.gate)
    elif answered.answer is Answer.KEPT:
        app.telemetry.execute("signal_gate.keep", {}, {"token_hash": token_hash(token)})
    elif answered.answer in _REFUSALS and answered.gate is not None:
        tell(app.telemetry, "refused", answered.gate, reason=answered.answer.value)
