"""
The markers of a signature: ``Dep`` for another asset's value, ``Requires`` for a resource.

::

    @sales.asset
    async def report(
        base: list[int] = Dep(numbers),
        extra: Extra | None = Dep(extra, optional=True),
        rates: Rates = Dep("finance.rates", type=Rates),    # defined later, or in another module
        shop: Shop = Requires(Shop),
    ) -> Report: ...

Both are typed as what the parameter receives, so that a checker compares the producer's type with
the consumer's. ``Annotated[list[int], Dep(numbers)]`` means the same, but is not compared.
"""

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from flowstone.core.annotations import accepts_none, type_text
from flowstone.core.asset import Asset
from flowstone.core.errors import DefinitionError
from flowstone.core.source import Edge, ResourceMarker, Source, Upstream

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AssetValue(Source):
    """
    The source that `Dep` makes: the value of one upstream asset.

    Attributes:
        upstream: Its full name, or its name in the same pipeline.
        optional: Whether ``None`` stands in when the upstream ends without a value.
        producer: The asset itself, unless it was named.
        named_type: With a name, the type that was said beside it.
    """

    upstream: str
    optional: bool
    producer: Asset[..., object] | None
    named_type: object = None

    def edges(self) -> Sequence[Edge]:
        return (Edge(self.upstream, self.optional),)

    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        return upstreams[0].value

    def decoded_as(self, annotation: object) -> object:
        if annotation is not object:
            return annotation
        return self.named_type if self.producer is None else self.producer.value_type

    def objection(self, annotation: object) -> str | None:
        if not self.optional or accepts_none(annotation):
            return None
        wanted = type_text(annotation)
        return f"{self} may give None; annotate it {wanted} | None"

    def __str__(self) -> str:
        subject = self.producer.name if self.producer else repr(self.upstream)
        named = f", type={type_text(self.named_type)}" if self.producer is None else ""
        return f"Dep({subject}{named}{', optional=True' if self.optional else ''})"


@typing.overload
def Dep(asset: Asset[..., T], /) -> T: ...


@typing.overload
def Dep(asset: Asset[..., T], /, *, optional: Literal[True]) -> T | None: ...


@typing.overload
def Dep(asset: str, /, *, type: type[T]) -> T: ...


@typing.overload
def Dep(asset: str, /, *, type: type[T], optional: Literal[True]) -> T | None: ...


def Dep(  # noqa: N802 - reads as a value in signatures
    asset: object, /, *, optional: bool = False, type: object = None
) -> object:
    """
    Take another asset's value as an argument; makes an edge.

    Args:
        asset: The asset, or the name of one that is defined later: ``"pipeline.asset"``, or the
            name alone within the same pipeline.
        optional: Receive ``None`` when the upstream was skipped, failed or was cancelled, instead
            of being skipped or failing with it.
        type: With a name, the type of its value.

    Raises:
        DefinitionError: It is neither an asset nor a name, or a name without a type.
    """
    if isinstance(asset, Asset):
        return AssetValue(asset.full_name, optional, asset)
    if isinstance(asset, str):
        if type is None:
            raise DefinitionError(f'Dep("{asset}") needs the type too: Dep("{asset}", type=...)')
        return AssetValue(asset, optional, None, type)
    name = getattr(asset, "__name__", None)
    if inspect.iscoroutine(asset):
        asset.close()
        raise DefinitionError(f"Dep({name}()): '{name}' was called; write Dep({name})")
    if name and callable(asset):
        raise DefinitionError(f"Dep({name}): '{name}' is no asset; is @pipeline.asset missing?")
    raise DefinitionError(f"Dep() takes an asset or the name of one, not {asset!r}")


@typing.overload
def Requires(kind: type[T], /) -> T: ...


# An abstract class or a Protocol is no type[T] for checkers, but it is something that gives a T.
@typing.overload
def Requires(kind: Callable[..., T], /) -> T: ...


def Requires(kind: object, /) -> object:  # noqa: N802 - reads as a value in signatures
    """
    Take a resource as an argument.

    Args:
        kind: The class that the application's ``resources`` know it by; may be abstract or a
            Protocol.

    Raises:
        DefinitionError: It is not a class.
    """
    if not isinstance(kind, type):
        raise DefinitionError(f"Requires() takes the class of a resource, not {kind!r}")
    return ResourceMarker(kind)
