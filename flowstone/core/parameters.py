"""What a parameter of an author's function is filled with."""

import inspect
from typing import NamedTuple

from flowstone.core.source import Source

NOT_GIVEN = inspect.Parameter.empty


class Input(NamedTuple):
    """
    An upstream value that a parameter is made from.

    Attributes:
        upstream: The upstream's full name.
        optional: Whether the asset runs although the upstream ended without a value.
        annotation: The resolved type that the value is decoded to.
        phase: The phase function that wants it; empty is the asset's own.
        awaited: Whether the asset begins first, and waits for the upstream itself.
    """

    parameter: str
    upstream: str
    optional: bool
    annotation: object
    phase: str = ""
    awaited: bool = False


class Argument(NamedTuple):
    """A parameter that a source fills: `Source.resolve` gets what came over ``inputs``."""

    parameter: str
    source: Source
    inputs: tuple[Input, ...]
    annotation: object


class Requirement(NamedTuple):
    """A resource that a parameter wants, by the type that it is known by."""

    parameter: str
    type: type
    phase: str = ""


class OwnArgument(NamedTuple):
    """A parameter of a job that whoever enqueues it gives; ``default`` may be `NOT_GIVEN`."""

    parameter: str
    annotation: object
    default: object
    keyword_only: bool

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is NOT_GIVEN


class Missing(NamedTuple):
    """A parameter without a source; ``default`` is its ordinary default as text, if it has one."""

    parameter: str
    annotation: str
    default: str | None
