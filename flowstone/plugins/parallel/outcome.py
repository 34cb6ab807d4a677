"""
What became of a branch that may fail: `Ok`, `Failed` or `Skipped`.

::

    match web:
        case Ok(value):
            ...
        case Failed(message):
            ...
        case Skipped():
            ...
"""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """The branch's value; ``None`` is one."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Failed:
    """
    The branch failed, was cancelled, or took too long.

    Attributes:
        error: What was said, for people.
        code: The error's stable word: ``timeout``, ``execution_error``, ``dependency_failed`` …
    """

    error: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The branch was skipped, or not waited for; ``reason`` says which."""

    reason: str = ""


Outcome: TypeAlias = Ok[T] | Failed | Skipped
"""What a parameter with ``Branch(..., required=False)`` gets."""
