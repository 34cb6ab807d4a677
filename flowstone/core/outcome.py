"""
What became of one attempt: the values that a strategy returns and the worker settles.

Waiting, skipping, snoozing and cancelling are outcomes, never exceptions. An author's failure is
raised, and the executor settles it as failed or as tried again; `Failed` is for a strategy that has
the error in hand.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class Stored:
    """The asset has this value; ``None`` is a value."""

    value: object


@dataclass(frozen=True, slots=True)
class Until:
    """
    What ends a wait by itself, in the transaction in which it comes true.

    Attributes:
        all_ended: Materializations, of those that it awaits: when all of them have ended.
        any_lost: Some of these: when one of them has ended without a value.
    """

    all_ended: tuple[int, ...]
    any_lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    The materialization waits for something and holds nothing while it does.

    Attributes:
        on: What it waits for, a word for the column ``waiting_on``: ``approval``, ``signal``,
            ``branches``, a count …
        state: What `Strategy.resume` gets back, JSON.
        timeout: After this time the strategy is resumed with `Wake.timed_out`; None waits for ever.
        external: Whether only an outside event can end the wait, so that ``app.run`` raises
            `RunWaiting` instead of waiting with it.
        whom: Whom it waits for, or what exactly, for people: who may approve, a gate's token.
            Nobody in particular: empty.
        until: What wakes it without anybody calling `Store.wake`, of `Execution.awaited`.

    Raises:
        InvalidOptionError: It does not say what for, or the timeout is not a duration.
    """

    on: str
    state: JsonValue = None
    timeout: timedelta | None = None
    external: bool = True
    whom: tuple[str, ...] = ()
    until: Until | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.on, str) or not self.on or not self.on.isprintable():
            raise InvalidOptionError(f"on={self.on!r} must be a word for what is waited for")
        if self.timeout is not None:
            duration.parse(self.timeout, option="timeout")


@dataclass(frozen=True, slots=True)
class Skipped:
    """There is nothing to store; required dependents are skipped, optional ones get ``None``."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; whether it is tried again is decided by the asset's `Retry`."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The materialization was given up on purpose; its dependents are cancelled."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Snoozed:
    """
    Not now: try again after the delay. Does not count as an attempt.

    Raises:
        InvalidOptionError: The delay is not a duration.
    """

    delay: timedelta

    def __post_init__(self) -> None:
        duration.parse(self.delay, option="delay")


Outcome: TypeAlias = Stored | Waiting | Skipped | Failed | Cancelled | Snoozed


@dataclass(frozen=True, slots=True)
class Wake:
    """
    Why a waiting materialization goes on.

    Attributes:
        on: What it waited for.
        state: The JSON that `Waiting.state` carried.
        payload: What the waker sent, JSON; None when it timed out.
        timed_out: Whether the wait's deadline passed before anybody woke it.
    """

    on: str
    state: JsonValue
    payload: JsonValue
    timed_out: bool
