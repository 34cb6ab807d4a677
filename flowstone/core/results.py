"""
What a function returns instead of a value, when there is none.

Anything else that it returns is the asset's value, ``None`` included; to fail, it raises.
"""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from flowstone.core import annotations, duration


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing to store: required dependents are skipped, optional ones get ``None``."""

    reason: str = ""


@dataclass(frozen=True, slots=True, init=False)
class Snooze:
    """
    Not now: run again after the delay. Does not count as an attempt.

    Args:
        delay: A timedelta, a text such as ``"10m"``, or seconds.

    Raises:
        InvalidOptionError: The delay is not a duration.
    """

    delay: timedelta

    def __init__(self, delay: timedelta | str | float) -> None:
        object.__setattr__(self, "delay", duration.parse(delay, option="Snooze delay"))


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up on purpose; the dependents are cancelled. Not a failure, and not tried again."""

    reason: str = ""


class ReturnedOutcome:
    """
    Base of what a plugin's function returns in place of its value.

    In a return annotation such a type is no value, but its type arguments are: an asset that
    returns ``Trade | NeedsApproval[Trade]`` has the value ``Trade``.
    """

    __slots__ = ()


OUTCOMES = (Skip, Snooze, Cancel)
"""The types that are not values when a function returns them."""


def without_outcomes(annotation: object) -> object:
    """Return a return annotation without `Skip`, `Snooze`, `Cancel` and what plugins have."""
    bare = annotations.without_marks(annotation)
    if not annotations.is_union(bare) and not _is_outcome(bare):
        return bare
    members = typing.get_args(bare) if annotations.is_union(bare) else (bare,)
    values = [value for member in members for value in _values_in(member)]
    return annotations.union_of(values) if values else annotations.NoneType


def _values_in(member: object) -> Sequence[object]:
    """Return the types of values that a member of a return annotation stands for."""
    return typing.get_args(member) if _is_outcome(member) else (member,)


def _is_outcome(annotation: object) -> bool:
    kind = typing.get_origin(annotation) or annotation
    return kind in OUTCOMES or (isinstance(kind, type) and issubclass(kind, ReturnedOutcome))
