"""The decorator: ``@signal_gate(on_signal=…)`` below ``@pipeline.asset``."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, overload

from flowstone.core import annotations, duration
from flowstone.core.annotations import Unresolved
from flowstone.core.asset import Definition, Phase
from flowstone.core.errors import InvalidOptionError
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.plugins.signal_gate.coordinator import TimeoutAction
from flowstone.plugins.signal_gate.strategy import ON_SIGNAL, ON_TIMEOUT, Gated
from flowstone.plugins.signal_gate.wait import Callback, Wait

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound="_Returned | Awaitable[_Returned]")

_Returned: TypeAlias = Wait | Skip | Snooze | Cancel
Named: TypeAlias = Literal["fail", "retry", "cancel"]
Duration: TypeAlias = timedelta | str | float

MOST_RETRIES = 12
PAYLOAD = "payload"


@overload
def signal_gate(
    *,
    on_signal: Callable[..., Coroutine[Any, Any, T | Wait | Skip | Snooze | Cancel]],
    on_timeout: Callable[..., Coroutine[Any, Any, T | Wait | Skip | Snooze | Cancel]] | Named = ...,
    timeout: Duration | None = ...,
    timeout_retries: int = ...,
) -> Callable[[Callable[P, R]], Definition[P, T, R]]: ...
@overload
def signal_gate(
    *,
    on_signal: Callable[..., Coroutine[Any, Any, T | Wait | Skip | Snooze | Cancel]],
    on_timeout: Callable[..., T | Wait | Skip | Snooze | Cancel],
    timeout: Duration | None = ...,
    timeout_retries: int = ...,
) -> Callable[[Callable[P, R]], Definition[P, T, R]]: ...
@overload
def signal_gate(
    *,
    on_signal: Callable[..., T | Wait | Skip | Snooze | Cancel],
    on_timeout: Callable[..., Coroutine[Any, Any, T | Wait | Skip | Snooze | Cancel]],
    timeout: Duration | None = ...,
    timeout_retries: int = ...,
) -> Callable[[Callable[P, R]], Definition[P, T, R]]: ...
@overload
def signal_gate(
    *,
    on_signal: Callable[..., T | Wait | Skip | Snooze | Cancel],
    on_timeout: Callable[..., T | Wait | Skip | Snooze | Cancel] | Named = ...,
    timeout: Duration | None = ...,
    timeout_retries: int = ...,
) -> Callable[[Callable[P, R]], Definition[P, T, R]]: ...


def signal_gate(
    *,
    on_signal: Callable[..., object],
    on_timeout: Callable[..., object] | str = "fail",
    timeout: Duration | None = "1h",
    timeout_retries: int = 3,
) -> Callable[[Callable[P, R]], Definition[P, object, R]]:
    """
    Let an asset wait for a signal: its function begins something outside and returns a `Wait`.

    A parameter with the type `Callback`, of the function or of one that returns another `Wait`, is
    given a token and the URL for it.

    Args:
        on_signal: Makes the value of the payload, which is its parameter ``payload``, or else its
            first one, read as that is annotated; other parameters have sources as any function's.
            May return another `Wait`, with another token.
        on_timeout: What happens when no signal has come in time: a function that makes the value,
            or returns a `Wait` to wait on; ``fail``; ``cancel``; or ``retry``: wait on for 5, 15,
            45 … minutes, and fail after that.
        timeout: For how long a gate is open; None is for ever.
        timeout_retries: How often ``retry`` waits on.

    Raises:
        InvalidOptionError: An option is out of its range.
    """
    patience = None if timeout is None else duration.parse(timeout, option="timeout")
    if patience is not None and not patience:
        raise InvalidOptionError("timeout=0 would open a gate that nobody can signal")
    if isinstance(timeout_retries, bool) or timeout_retries not in range(MOST_RETRIES + 1):
        raise InvalidOptionError(
            f"timeout_retries={timeout_retries!r} must be a whole number, 0 to {MOST_RETRIES}"
        )
    action = _action(on_timeout)
    functions = {ON_SIGNAL: on_signal}
    if callable(on_timeout):
        functions[ON_TIMEOUT] = on_timeout
    callbacks = {name: _callback_of(it) for name, it in functions.items()}
    payload = _payload_of(on_signal, callbacks[ON_SIGNAL])

    def define(function: Callable[P, R]) -> Definition[P, object, R]:
        wanted = {"": _callback_of(function), **callbacks}
        found = {name: parameter for name, parameter in wanted.items() if parameter is not None}
        supplied = {name: (parameter,) for name, parameter in found.items()}
        return Definition(
            function,
            strategy=Gated(patience, action, timeout_retries, payload, found),
            phases={
                ON_SIGNAL: Phase(on_signal, supplied=(payload, *supplied.get(ON_SIGNAL, ()))),
                **(
                    {ON_TIMEOUT: Phase(on_timeout, supplied=supplied.get(ON_TIMEOUT, ()))}
                    if callable(on_timeout)
                    else {}
                ),
            },
            supplied=supplied.get("", ()),
            value_phase=ON_SIGNAL,
        )

    return define


def _action(on_timeout: object) -> TimeoutAction:
    if callable(on_timeout):
        return TimeoutAction.CALL
    named = [it.value for it in TimeoutAction if it is not TimeoutAction.CALL]
    if on_timeout not in named:
        raise InvalidOptionError(
            f"on_timeout={on_timeout!r} must be a function, or one of {', '.join(named)}"
        )
    return TimeoutAction(on_timeout)


def _payload_of(on_signal: Callable[..., object], callback: str | None) -> str:
    """Return what of ``on_signal`` is the payload: by its name, or else what comes first."""
    names = [name for name in inspect.signature(on_signal).parameters if name != callback]
    if not names:
        raise InvalidOptionError(
            "on_signal has to take the payload: async def on_signal(payload: ...) -> ..."
        )
    return PAYLOAD if PAYLOAD in names else names[0]


def _callback_of(function: Callable[..., object]) -> str | None:
    """Return the parameter that is annotated to get a `Callback`."""
    for name, annotation in annotations.resolve(function).items():
        if isinstance(annotation, Unresolved):
            is_meant = annotation.text.rpartition(".")[2] == Callback.__name__
        else:
            is_meant = annotations.without_marks(annotation) is Callback
        if is_meant and name != "return":
            return name
    return None
