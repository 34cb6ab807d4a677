"""
Which case of docs/conformance.md a test of a public suite answers.

Not a marker: those are the business of whoever runs the suite.
"""

from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., object])


def answers(*numbers: int) -> Callable[[Test], Test]:
    """Note the numbers of the cases on the test."""

    def note(test: Test) -> Test:
        test.answers = numbers  # type: ignore[attr-defined]  # a function takes any
        return test

    return note
