"""How a gate is computed: the body opens it, a signal or its deadline ends it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from flowstone.core.asset import Asset
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.function_strategy import outcome_of
from flowstone.core.errors import Problem, ValueNotReadableError
from flowstone.core.json_value import JsonText
from flowstone.core.outcome import Cancelled, Outcome, Waiting, Wake
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.plugins.signal_gate.callbacks import GRACE, Callbacks
from flowstone.plugins.signal_gate.coordinator import (
    Gate,
    GateCoordinator,
    GateStatus,
    NewGate,
    TimeoutAction,
    retry_wait,
)
from flowstone.plugins.signal_gate.errors import (
    GateTimeoutError,
    PayloadRefusedError,
    SignalGateError,
)
from flowstone.plugins.signal_gate.events import tell
from flowstone.plugins.signal_gate.token import new_token
from flowstone.plugins.signal_gate.wait import Callback, Wait

WAITING_ON = "signal"
ON_SIGNAL = "on_signal"
ON_TIMEOUT = "on_timeout"

_LIVE = (GateStatus.WAITING, GateStatus.SIGNALED)


@dataclass(frozen=True, slots=True)
class Gated(Strategy):
    """
    Waits for a signal between the asset's function and ``on_signal``.

    Attributes:
        timeout: From the opening of a gate; None waits for ever.
        on_timeout: What happens when it is over.
        timeout_retries: How often a gate waits on, if that is what happens.
        payload: The parameter of ``on_signal`` that gets it.
        callbacks: By phase (empty: the function itself), the parameter that gets a `Callback`.
    """

    plugin: ClassVar[str | None] = "signal_gate"

    timeout: timedelta | None
    on_timeout: TimeoutAction
    timeout_retries: int
    payload: str
    callbacks: Mapping[str, str]

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterable[Problem]:
        if asset.options.executor == "process":
            message = 'executor="process" is for functions that compute; a gate\'s begins something'
            message += (
                " elsewhere, and its Wait does not come back from there. Leave it in a thread"
            )
            fix = f"@{asset.pipeline}.asset"
            yield Problem(message, where=str(asset.source), asset=asset.full_name, fix=fix)

    async def start(self, execution: Execution) -> Outcome:
        if execution.claim:
            # An attempt before this one may have been lost between opening its gate and saying so.
            gates = await _gates(execution).of_materialization(execution.materialization_id)
            if gates and gates[0].status in _LIVE and not gates[0].failures:
                return _waiting(gates[0])
        return await self._begin(execution)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        gate = await self._looked_at(execution, wake)
        match gate.status:
            case GateStatus.WAITING:
                return _waiting(gate)
            case GateStatus.SIGNALED:
                return await self._go_on(execution, gate)
            case GateStatus.CANCELLED:
                tell(execution.telemetry, "cancel", gate)
                return Cancelled("its gate was cancelled")
        if gate.timeout_action is TimeoutAction.CANCEL:
            return Cancelled("no signal came in time")
        if gate.timeout_action is TimeoutAction.CALL:
            supplied = self._callback(execution, ON_TIMEOUT)
            return await self._outcome(
                execution, await execution.call_phase(ON_TIMEOUT, **supplied)
            )
        if GateTimeoutError.code in gate.failures:
            # An attempt has failed by it, and the asset's retry wants another one.
            return await self._begin(execution)
        raise GateTimeoutError(
            f"no signal came for {gate.token!r} in {_seconds(gate.waited)}",
            asset=gate.asset,
            partition=gate.partition,
            run_id=gate.run_id,
        )

    def payload_of(self, asset: Asset[..., object], text: JsonText, codec: Codec) -> object:
        """
        Return a payload as ``on_signal`` takes it.

        Raises:
            ValueNotReadableError: It is something else.
        """
        types = asset.phase_signatures[ON_SIGNAL].supplied_types
        return codec.decode(text, types[self.payload])

    async def _looked_at(self, execution: Execution, wake: Wake) -> Gate:
        """Return the gate as it stands; what has happened to it is in its row, not in the wake."""
        assert isinstance(wake.state, dict)
        gate_id = wake.state["gate"]
        assert isinstance(gate_id, int)
        gates = _gates(execution)
        if not wake.timed_out:
            return await gates.get(gate_id)
        before = await gates.get(gate_id)
        gate = await gates.time_out(gate_id)
        if before.is_open and gate.status is GateStatus.TIMEOUT:
            tell(execution.telemetry, "timeout", gate)
        elif gate.timeout_retries > before.timeout_retries:
            tell(execution.telemetry, "timeout_retry", gate)
        return gate

    async def _begin(self, execution: Execution) -> Outcome:
        returned = await execution.call(**self._callback(execution, ""))
        if not isinstance(returned, Wait | Skip | Snooze | Cancel):
            raise SignalGateError(
                f"the function of a signal gate returned a {type(returned).__qualname__}; write: "
                "return Wait(token=...)"
            )
        return await self._outcome(execution, returned)

    async def _go_on(self, execution: Execution, gate: Gate) -> Outcome:
        text = gate.payload or "null"
        try:
            payload = self.payload_of(execution.asset, text, execution.codec)
        except ValueNotReadableError as error:
            again = await _gates(execution).reopen(gate.id, execution.claim)
            tell(execution.telemetry, "refused", gate, reason=str(error))
            if again is not None:
                return _waiting(again)
            raise PayloadRefusedError(gate.token, error.why) from error
        supplied = {**self._callback(execution, ON_SIGNAL), self.payload: payload}
        returned = await execution.call_phase(ON_SIGNAL, **supplied)
        return await self._outcome(execution, returned)

    async def _outcome(self, execution: Execution, returned: object) -> Outcome:
        if not isinstance(returned, Wait):
            return outcome_of(returned)
        gate = await _gates(execution).create(
            NewGate(
                execution.materialization_id,
                execution.claim,
                returned.token,
                attempt=execution.attempt,
                timeout=self.timeout,
                timeout_action=self.on_timeout,
                max_timeout_retries=self.timeout_retries,
                metadata=execution.codec.encode(dict(returned.metadata)),
            )
        )
        milliseconds = None if self.timeout is None else self.timeout / timedelta(milliseconds=1)
        tell(execution.telemetry, "create", gate, timeout_ms=milliseconds)
        return _waiting(gate)

    def _callback(self, execution: Execution, phase: str) -> dict[str, object]:
        parameter = self.callbacks.get(phase)
        if parameter is None:
            return {}
        callbacks = _gates(execution).app.resources.get(Callbacks)
        token = new_token()
        return {parameter: Callback(token, callbacks.url(token, valid_for=self._longest()))}

    def _longest(self) -> timedelta | None:
        """For how long a URL has to be valid: beyond everything that the gate may wait."""
        if self.timeout is None:
            return None
        retries = self.timeout_retries if self.on_timeout is TimeoutAction.RETRY else 0
        return self.timeout + sum(map(retry_wait, range(retries)), GRACE)


def _gates(execution: Execution) -> GateCoordinator:
    return execution.coordinator(GateCoordinator)


def _waiting(gate: Gate) -> Waiting:
    """Wait for the gate; one that is signaled by now has a wake-up that ends this at once."""
    return Waiting(WAITING_ON, {"gate": gate.id}, gate.remaining, whom=(gate.token,))


def _seconds(waited: timedelta) -> str:
    return f"{waited.total_seconds():.0f}s"
