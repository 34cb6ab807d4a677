"""
Where branches meet again: the value of the first one that has one.

::

    @sales.asset
    async def region(found: Region = FirstOf(by_mgrs, by_name)) -> Region: ...
"""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from flowstone.core import annotations
from flowstone.core.asset import Asset
from flowstone.core.errors import DefinitionError, DependencyFailedError
from flowstone.core.results import Cancel, Skip
from flowstone.core.source import Edge, Source, Upstream
from flowstone.core.status import Status

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FirstValue(Source):
    """
    The source that `FirstOf` makes.

    Attributes:
        upstreams: The assets, or their names.
        named_type: The type that was said beside names.
    """

    upstreams: tuple[Asset[..., object] | str, ...]
    named_type: object = None

    def edges(self) -> Sequence[Edge]:
        return [
            Edge(it if isinstance(it, str) else it.full_name, optional=True)
            for it in self.upstreams
        ]

    def asks_why(self, upstreams: Sequence[Upstream]) -> bool:
        return not any(it.has_value for it in upstreams)

    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        for it in upstreams:
            if it.has_value:
                return it.value
        for it in upstreams:
            if it.status in (Status.FAILED, Status.UPSTREAM_FAILED):
                raise DependencyFailedError(it.asset)
        nothing = f"none of {', '.join(it.asset for it in upstreams)} has a value"
        is_cancelled = any(it.status == Status.CANCELLED for it in upstreams)
        return Cancel(nothing) if is_cancelled else Skip(nothing)

    def decoded_as(self, annotation: object) -> object:
        if annotation is not object:
            return annotation
        if self.named_type is not None:
            return self.named_type
        types = [it.value_type for it in self.upstreams if isinstance(it, Asset)]
        return annotations.union_of(list(dict.fromkeys(types)))

    def __str__(self) -> str:
        names = ", ".join(repr(it) if isinstance(it, str) else it.name for it in self.upstreams)
        return f"FirstOf({names})"


@typing.overload
def FirstOf(a: Asset[..., A], b: Asset[..., B], /) -> A | B: ...
@typing.overload
def FirstOf(a: Asset[..., A], b: Asset[..., B], c: Asset[..., C], /) -> A | B | C: ...
@typing.overload
def FirstOf(
    a: Asset[..., A], b: Asset[..., B], c: Asset[..., C], d: Asset[..., D], /
) -> A | B | C | D: ...
@typing.overload
def FirstOf(
    a: Asset[..., A], b: Asset[..., B], c: Asset[..., C], d: Asset[..., D], e: Asset[..., E], /
) -> A | B | C | D | E: ...
# Six and more are of one type. An overload that fewer match too would make them Any for mypy.
@typing.overload
def FirstOf(
    a: Asset[..., T],
    b: Asset[..., T],
    c: Asset[..., T],
    d: Asset[..., T],
    e: Asset[..., T],
    f: Asset[..., T],
    /,
    *others: Asset[..., T],
) -> T: ...
@typing.overload
def FirstOf(*assets: Asset[..., T] | str, type: type[T]) -> T: ...


def FirstOf(*assets: object, type: object = None) -> object:  # noqa: N802 - reads as a value
    """
    Take the value of the first of these assets that has one; makes an edge to each.

    When none of them has one, it goes as it would with `Dep`: the asset fails if one of them has
    failed, is cancelled if one was, and is skipped otherwise, as after a router that selected no
    branch.

    Args:
        assets: Branches of a router as a rule. A name stands for one that is defined later, with
            ``type=`` beside it.
        type: With names, the type of the value.

    Raises:
        DefinitionError: Fewer than two, one twice, something that is no asset, or a name without
            a type.
    """
    given: list[Asset[..., object] | str] = []
    for it in assets:
        if not isinstance(it, Asset | str):
            name = getattr(it, "__name__", repr(it))
            raise DefinitionError(
                f"FirstOf({name}): '{name}' is no asset; is @pipeline.asset missing?"
            )
        given.append(it)
    shown = ", ".join(it if isinstance(it, str) else it.name for it in given)
    if len(given) < 2:
        raise DefinitionError(f"FirstOf({shown}) needs two assets or more; of one, write Dep(...)")
    if len({it if isinstance(it, str) else it.full_name for it in given}) < len(given):
        raise DefinitionError(f"FirstOf({shown}) names an asset twice")
    if type is None and any(isinstance(it, str) for it in given):
        raise DefinitionError(f"FirstOf({shown}) needs the type beside a name: type=...")
    return FirstValue(tuple(given), type)
