"""How a signal is sent from Python: checked at the border, then left to the coordinator."""

from collections.abc import Callable, Iterator

from flowstone.core.asset import Asset
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
    return await _signal(app, token, app.codec.encode(payload), sender)


async def signal_text(
    app: Host, token: str, payload: JsonText, *, sender: JsonValue = None
) -> Answered:
    """
    Send a signal whose payload is text that somebody says is JSON.

    Raises as `signal` does, and ValueNotReadableError where it is none.
    """
    plain = app.codec.encode(app.codec.decode(payload))
    return await _signal(app, token, plain, sender)


async def _signal(app: Host, token: str, payload: JsonText, sender: JsonValue) -> Answered:
    misfits = {name: _misfit(app, asset, payload) for name, asset in _gated(app)}
    answered = await app.coordinator(GateCoordinator).signal(
        checked_token(token),
        payload,
        sender=None if sender is None else app.codec.encode(sender),
        fits={name: misfit is None for name, misfit in misfits.items()},
    )
    _tell(app, token, answered)
    if answered.answer is Answer.MISFIT and answered.gate is not None:
        misfit = misfits[answered.gate.asset]
        assert misfit is not None
        raise PayloadRefusedError(token, f"at {misfit.path}: {misfit.why}") from misfit
    if answered.answer in _REFUSALS:
        raise _REFUSALS[answered.answer](token)
    return answered


def _gated(app: Host) -> Iterator[tuple[str, Asset[..., object]]]:
    """Yield the assets that wait for signals, by every name that a gate may know them by."""
    for asset in app.definitions:
        if asset.find_strategy(Gated) is not None:
            for name in (asset.full_name, *asset.options.aliases):
                yield name, asset


def _misfit(
    app: Host, asset: Asset[..., object], payload: JsonText
) -> ValueNotReadableError | None:
    """Return what is wrong with a payload for an asset."""
    strategy = asset.find_strategy(Gated)
    assert strategy is not None
    try:
        strategy.payload_of(asset, payload, app.codec)
    except ValueNotReadableError as error:
        return error
    return None


def _tell(app: Host, token: str, answered: Answered) -> None:
    if answered.answer is Answer.ACCEPTED and answered.gate is not None:
        tell(app.telemetry, "signal", answered.gate)
    elif answered.answer is Answer.KEPT:
        app.telemetry.execute("signal_gate.keep", {}, {"token_hash": token_hash(token)})
    elif answered.answer.is_refusal and answered.gate is not None:
        tell(app.telemetry, "refused", answered.gate, reason=answered.answer.value)
