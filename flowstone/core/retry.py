"""
When a failed materialization is tried again, and after how long.

Without ``retry=`` an asset has `DEFAULT_RETRY`: five attempts, but only for errors that say of
themselves that trying again can help (``retryable``): timeouts, lost connections, a database that
restarts, a dependency that is not ready.

With ``retry=`` the author takes the decision:

* ``Retry(5)`` also tries again after **whatever the asset's own function raised**.
* ``Retry(5, on=(HTTPError,))`` also tries again after **these exceptions**, and no others.
* ``Retry(5, on=())`` is the default policy.
* ``Retry(5, discard=(InvalidAddress,))`` gives up at once after **these exceptions**.

Never tried again: what cannot become better, such as a wrong definition or a value that cannot be
stored or read; a `FlowStoneError` that the function raised and that does not call itself retryable;
and whatever is not an ``Exception`` (cancellation, interpreter exit).
"""

import random
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from flowstone.core import duration
from flowstone.core.errors import (
    AssetFunctionError,
    DefinitionError,
    FlowStoneError,
    InvalidOptionError,
    RegistrationError,
    ValueNotReadableError,
    ValueNotStorableError,
)

MAX_ATTEMPTS = 32_767
JITTER = 0.1

Backoff: TypeAlias = Callable[[int], timedelta | float]
"""From the number of the attempt that failed, from 1, to how long to wait."""

_HOPELESS = (DefinitionError, RegistrationError, ValueNotStorableError, ValueNotReadableError)


@dataclass(frozen=True, slots=True)
class Retry:
    """
    A policy of attempts.

    The delay after attempt *n* is ``base · factorⁿ⁻¹`` (``exponential``), ``base · n`` (``linear``)
    or ``base`` (``constant``), at most ``cap``: by default 30, 90, 270, 300, 300 … seconds. Jitter
    moves it by up to 10 % either way, never above ``cap``. A function of one's own is given *n* and
    returns the delay, in seconds or as a timedelta; ``cap`` bounds it, and there is no jitter.

    Args:
        max_attempts: How often it is tried in all, the first time included; 1 is never again.
        base: The first delay.
        factor: What an exponential delay grows by; at least 1.
        cap: The longest delay.
        on: Exceptions to try again after, beside retryable errors. None: all that the asset's own
            function raises.
        discard: Exceptions never to try again after; wins over ``on``.

    Raises:
        InvalidOptionError: An option is out of its range.
    """

    max_attempts: int = 5
    _: KW_ONLY
    backoff: Literal["exponential", "linear", "constant"] | Backoff = "exponential"
    base: timedelta | str | float = timedelta(seconds=30)
    factor: float = 3.0
    cap: timedelta | str | float = timedelta(minutes=5)
    jitter: bool = True
    on: type[Exception] | tuple[type[Exception], ...] | None = None
    discard: type[Exception] | tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        if not _is_whole(self.max_attempts) or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise InvalidOptionError(
                f"max_attempts={self.max_attempts!r} must be a whole number, 1 to {MAX_ATTEMPTS}"
            )
        is_named = self.backoff in ("exponential", "linear", "constant")
        if not (is_named or callable(self.backoff)):
            raise InvalidOptionError(
                f"backoff={self.backoff!r} must be 'exponential', 'linear', 'constant', or a "
                "function from the attempt's number to the delay"
            )
        if not _is_number(self.factor) or not 1 <= self.factor <= 1_000:
            raise InvalidOptionError(f"factor={self.factor!r} must be from 1 to 1000")
        object.__setattr__(self, "base", duration.parse(self.base, option="base"))
        object.__setattr__(self, "cap", duration.parse(self.cap, option="cap"))
        object.__setattr__(self, "on", _exceptions("on", self.on))
        object.__setattr__(self, "discard", _exceptions("discard", self.discard))

    def delay(self, attempt: int, rng: random.Random | None = None) -> timedelta:
        """
        Return how long to wait after this attempt (from 1) failed.

        Args:
            rng: Where jitter comes from; None is the process's own.
        """
        longest = duration.parse(self.cap).total_seconds()
        if not isinstance(self.backoff, str):
            own = duration.parse(self.backoff(max(1, attempt)), option="backoff").total_seconds()
            return timedelta(seconds=min(longest, own))
        seconds = min(longest, self._seconds(max(1, attempt), longest))
        if self.jitter:
            uniform = random.uniform if rng is None else rng.uniform
            seconds = uniform(seconds * (1 - JITTER), min(longest, seconds * (1 + JITTER)))
        return timedelta(seconds=seconds)

    def _seconds(self, attempt: int, longest: float) -> float:
        base = duration.parse(self.base).total_seconds()
        if self.backoff == "constant":
            return base
        if self.backoff == "linear":
            return min(longest, base * min(attempt, 10**9))
        try:
            return base * self.factor ** (attempt - 1)
        except OverflowError:
            return longest if base else 0.0

    def is_retryable(self, error: BaseException) -> bool:
        """
        Return whether this policy tries again after this error, attempts aside.

        Args:
            error: As the application's `ErrorNormalizer` gives it, so that a foreign exception says
                whether it is retryable; its ``__cause__`` is what was raised.
        """
        if not isinstance(error, Exception) or isinstance(error, _HOPELESS):
            return False
        raised = _raised(error)
        unwanted = _exceptions("discard", self.discard) or ()
        if isinstance(error, unwanted) or isinstance(error.__cause__, unwanted):
            return False
        if isinstance(error, FlowStoneError) and error.may_pass:
            return True
        if self.on is None:
            return raised is not None
        return isinstance(error, self.on) or (raised is not None and isinstance(raised, self.on))


def _raised(error: Exception) -> Exception | None:
    """Return the exception of the author's function that this error stands for, if it does."""
    if not isinstance(error, FlowStoneError):
        return error
    cause = error.__cause__
    if isinstance(error, AssetFunctionError) and cause is None:
        return error
    # An exit is an end, not a mishap.
    if not isinstance(cause, Exception):
        return None
    if isinstance(cause, FlowStoneError) and not isinstance(error, AssetFunctionError):
        return None
    return cause


def _exceptions(
    option: str, given: type[Exception] | tuple[type[Exception], ...] | None
) -> tuple[type[Exception], ...] | None:
    if given is None:
        return None
    kinds = given if isinstance(given, tuple) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise InvalidOptionError(
                f"{option}={kind!r} must be an exception class, or a tuple of them"
            )
    return kinds


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


DEFAULT_RETRY = Retry(on=())
"""What an asset without ``retry=`` has: five attempts, for retryable errors only."""
