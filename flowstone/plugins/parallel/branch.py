"""The marker of a branch: a parameter of the join, and an asset that ends it."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal, TypeVar

from flowstone.core import duration
from flowstone.core.annotations import is_union, type_text
from flowstone.core.asset import Asset
from flowstone.core.errors import DefinitionError, InvalidOptionError
from flowstone.core.source import Edge, Source, Upstream
from flowstone.plugins.parallel.outcome import Failed, Ok, Outcome, Skipped

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BranchValue(Source):
    """
    The source that `Branch` makes.

    Attributes:
        final: The full name of the asset that ends the branch, or its name in the same pipeline.
        required: Whether the join needs its value.
        wait: Whether the join waits for it.
        timeout: How long after the beginning it may take; None is as long as the rest.
        producer: The asset itself, unless it was named.
        named_type: With a name, the type that was said beside it.
    """

    final: str
    required: bool
    wait: bool
    timeout: timedelta | None
    producer: Asset[..., object] | None
    named_type: object = None

    needs: ClassVar[str | None] = "@parallel()"

    def edges(self) -> Sequence[Edge]:
        return (Edge(self.final, optional=not self.required, awaited=True),)

    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        """Return the value; what has none is supplied by the strategy, which knows why."""
        value = upstreams[0].value
        return value if self.required else Ok(value)

    def decoded_as(self, annotation: object) -> object:
        if annotation is not object:
            wanted = annotation if self.required else _value_of(annotation)
            if wanted is not None:
                return wanted
        return self.named_type if self.producer is None else self.producer.value_type

    def objection(self, annotation: object) -> str | None:
        if self.required or annotation is object or _value_of(annotation) is not None:
            return None
        wanted = type_text(annotation)
        return f"{self} may fail; annotate it Outcome[{wanted}]"

    def __str__(self) -> str:
        subject = self.producer.name if self.producer else repr(self.final)
        named = f", type={type_text(self.named_type)}" if self.producer is None else ""
        return f"Branch({subject}{named}{'' if self.required else ', required=False'})"


def _value_of(annotation: object) -> object | None:
    """Return the ``T`` of ``Outcome[T]``; None of anything else."""
    if not is_union(annotation):
        return None
    members = typing.get_args(annotation)
    oks = [typing.get_args(it)[0] for it in members if typing.get_origin(it) is Ok]
    rest = [it for it in members if typing.get_origin(it) is not Ok]
    return oks[0] if len(oks) == 1 and set(rest) == {Failed, Skipped} else None


@typing.overload
def Branch(asset: Asset[..., T], /, *, timeout: timedelta | str | float | None = None) -> T: ...


@typing.overload
def Branch(
    asset: Asset[..., T],
    /,
    *,
    required: Literal[True],
    timeout: timedelta | str | float | None = None,
) -> T: ...


@typing.overload
def Branch(
    asset: Asset[..., T],
    /,
    *,
    required: Literal[False],
    wait: bool = True,
    timeout: timedelta | str | float | None = None,
) -> Outcome[T]: ...


@typing.overload
def Branch(
    asset: str,
    /,
    *,
    type: type[T],
    required: Literal[True] = True,
    timeout: timedelta | str | float | None = None,
) -> T: ...


@typing.overload
def Branch(
    asset: str,
    /,
    *,
    type: type[T],
    required: Literal[False],
    wait: bool = True,
    timeout: timedelta | str | float | None = None,
) -> Outcome[T]: ...


def Branch(  # noqa: N802 - reads as a value in signatures
    asset: object = None,
    /,
    *,
    required: bool = True,
    wait: bool = True,
    timeout: timedelta | str | float | None = None,
    type: object = None,
) -> object:
    """
    Run another asset as a branch, and take what becomes of it as an argument of the join.

    Everything that the asset is made from belongs to the branch, and is computed in the same run as
    far as it is not fresh. What nobody else needs begins when the parallel asset does.

    Args:
        asset: The branch's final asset, or the name of one that is defined later.
        required: Whether the join needs its value: without one it is not called. Otherwise the
            parameter is an `Outcome`, and a failure of the branch does not fail the run.
        wait: False, for one that is not required, takes what is there when all others have ended.
        timeout: How long it may take, from the beginning of the parallel asset; then it has failed.
        type: With a name, the type of its value.

    Raises:
        DefinitionError: It is neither an asset nor a name, or a name without a type.
        InvalidOptionError: The timeout is no duration, or a required one is not waited for.
    """
    if required and not wait:
        raise InvalidOptionError("wait=False is for a branch that is not required: required=False")
    limit = None if timeout is None else duration.parse(timeout, option="timeout")
    if isinstance(asset, Asset):
        return BranchValue(asset.full_name, required, wait, limit, asset)
    if isinstance(asset, str):
        if type is None:
            raise DefinitionError(
                f'Branch("{asset}") needs the type too: Branch("{asset}", type=...)'
            )
        return BranchValue(asset, required, wait, limit, None, type)
    if asset is None:
        raise DefinitionError("Branch() takes the branch's final asset: Branch(report)")
    name = getattr(asset, "__name__", None)
    if name and callable(asset):
        raise DefinitionError(f"Branch({name}): '{name}' is no asset; is @pipeline.asset missing?")
    raise DefinitionError(
        f"Branch() takes the branch's final asset or the name of it, not {asset!r}"
    )
