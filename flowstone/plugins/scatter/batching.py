"""
How the items of a scatter are put together, and the decorator that says so.

::

    @sales.asset
    @scatter(docs)
    @batch(max_items=20, max_bytes="4MiB", size=length, input=shared)
    async def embedded(b: Batch[DocKey, Shared]) -> Done: ...

A batch is to the scatter what an item is without: it is claimed, tried again, counted against the
threshold and gathered as one.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from flowstone.core import byte_size
from flowstone.core.errors import InvalidOptionError
from flowstone.plugins.scatter.batches import Batch

I = TypeVar("I")  # noqa: E741
N = TypeVar("N")
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")

OnItemError = Literal["fail_batch", "collect_errors"]
ON_ITEM_ERROR = ("fail_batch", "collect_errors")

MOST_ITEMS = 10_000
"""In one batch, and held back at most while batches are put together."""

DEFAULT_MAX_ITEMS = 10


@dataclass(frozen=True, slots=True)
class Batching:
    """
    The rules by which items are put together.

    Attributes:
        max_items: The most of a batch; None where another limit is given.
        max_bytes: The most of a batch by ``size``; an item that is larger alone is a batch alone.
        size: The bytes of an item.
        group_by: Items of different groups are never in one batch.
        max_items_per_group: With ``group_by``, the most of a batch in the place of ``max_items``.
        split: A function of one's own: of some items it makes batches, each item in one.
        input: What all batches share: a function, called once for the scatter, or the value itself.
        on_item_error: Whether an item's error fails its batch, or is kept beside its result.

    Raises:
        InvalidOptionError: A limit is none, or options do not go together.
    """

    max_items: int | None = DEFAULT_MAX_ITEMS
    max_bytes: int | None = None
    size: Callable[[Any], int] | None = None
    group_by: Callable[[Any], Hashable] | None = None
    max_items_per_group: int | None = None
    split: Callable[[list[Any]], Sequence[Sequence[Any]]] | None = None
    input: object = None
    on_item_error: OnItemError = "fail_batch"

    def __post_init__(self) -> None:
        _check_count("max_items", self.max_items)
        _check_count("max_items_per_group", self.max_items_per_group)
        if self.max_bytes is not None and (type(self.max_bytes) is not int or self.max_bytes < 1):
            raise InvalidOptionError(f"max_bytes={self.max_bytes!r} must be 1 or more bytes")
        for name in ("size", "group_by", "split"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise InvalidOptionError(f"{name}={given!r} must be a function")
        if self.on_item_error not in ON_ITEM_ERROR:
            known = ", ".join(ON_ITEM_ERROR)
            raise InvalidOptionError(f"on_item_error={self.on_item_error!r} must be one of {known}")
        self._check_together()

    @property
    def most(self) -> int | None:
        """The most items of a batch, or None."""
        in_group = self.max_items_per_group if self.group_by is not None else None
        return in_group if in_group is not None else self.max_items

    @property
    def collects_errors(self) -> bool:
        """Whether errors of items are kept beside the result of their batch."""
        return self.on_item_error == "collect_errors"

    def _check_together(self) -> None:
        if self.max_bytes is not None and self.size is None:
            raise InvalidOptionError(
                f"max_bytes={self.max_bytes} needs size= too: the bytes of an item, such as "
                "size=lambda item: len(item.text)"
            )
        if self.size is not None and self.max_bytes is None:
            raise InvalidOptionError("size= needs max_bytes= too: the most bytes of a batch")
        if self.max_items_per_group is not None and self.group_by is None:
            raise InvalidOptionError("max_items_per_group= needs group_by= too")
        if self.split is not None:
            others = (self.max_bytes, self.group_by)
            if self.max_items != DEFAULT_MAX_ITEMS or any(it is not None for it in others):
                raise InvalidOptionError(
                    "split= decides alone; leave max_items, max_bytes and group_by out"
                )
        elif self.most is None and self.max_bytes is None:
            raise InvalidOptionError("max_items=None leaves a batch without any limit")


def _check_count(name: str, value: object) -> None:
    if value is None:
        return
    if type(value) is not int or not 1 <= value <= MOST_ITEMS:
        raise InvalidOptionError(f"{name}={value!r} must be a number of 1 to {MOST_ITEMS}")


@dataclass(frozen=True, slots=True, eq=False)
class Batched(Generic[I, P, R_co]):
    """A function that takes batches of ``I``: what `batch` leaves for the ``@scatter`` above it."""

    function: Callable[P, R_co]
    batching: Batching


class BatchDecorator(Protocol[N]):
    """What `batch` gives: it takes a function whose first parameter is a `Batch`."""

    def __call__(
        self, function: Callable[Concatenate[Batch[I, N], P], R], /
    ) -> Batched[I, Concatenate[Batch[I, N], P], R]: ...


class BatchOptions(TypedDict, total=False):
    """The options of `batch` but for ``input``."""

    max_items: int | None
    max_bytes: int | str | None
    size: Callable[[Any], int] | None
    group_by: Callable[[Any], Hashable] | None
    max_items_per_group: int | None
    split: Callable[[list[Any]], Sequence[Sequence[Any]]] | None
    on_item_error: OnItemError


@overload
def batch(**options: Unpack[BatchOptions]) -> BatchDecorator[None]: ...
@overload
def batch(
    *, input: Callable[..., Awaitable[N]], **options: Unpack[BatchOptions]
) -> BatchDecorator[N]: ...
@overload
def batch(*, input: Callable[..., N], **options: Unpack[BatchOptions]) -> BatchDecorator[N]: ...
@overload
def batch(*, input: N, **options: Unpack[BatchOptions]) -> BatchDecorator[N]: ...
def batch(*, input: object = None, **options: Any) -> BatchDecorator[Any]:
    """
    Give the function batches of items; stands below ``@scatter``.

    Args:
        max_items: The most of a batch.
        max_bytes: The most of a batch by ``size``: bytes, or a text such as ``"4MiB"``.
        size: The bytes of an item.
        group_by: What items of one batch have in common.
        max_items_per_group: With ``group_by``, the most of a batch in the place of ``max_items``.
        split: A function of one's own in the place of all these: it is given up to 10,000 items at
            a time and returns batches, each item in one of them.
        input: What all batches share. A function is an asset's like any other (``Dep``,
            ``Requires``, ``Context`` …), is called once when the scatter begins, and its result is
            kept; anything else is the value itself.
        on_item_error: ``fail_batch``: an item's error fails its batch, which is tried again whole.
            ``collect_errors``: what is raised within ``with b.item(item)`` is kept beside the
            batch's result; a batch of which every item failed has failed.

    Raises:
        InvalidOptionError: An option is unknown, a limit is none, or they do not go together.
    """
    unknown = sorted(options.keys() - BatchOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(("input", *BatchOptions.__annotations__))
        raise InvalidOptionError(f"@batch has no option '{unknown[0]}'; it has {known}")
    if options.get("max_bytes") is not None:
        options["max_bytes"] = byte_size.parse(options["max_bytes"], option="max_bytes")
    batching = Batching(input=input, **options)

    def decorate(
        function: Callable[Concatenate[Batch[I, N], P], R],
    ) -> Batched[I, Concatenate[Batch[I, N], P], R]:
        return Batched(function, batching)

    return decorate
