"""
The decorator: one function, called once for each of many items.

::

    @sales.asset
    @scatter(article_urls, gather=to_index, max_concurrent=50, rate_limit="10/s")
    async def articles(url: Url, http: Http = Requires(Http)) -> Article: ...

The item is the first parameter. ``article_urls`` gives the items: a list, or a function that
returns or yields them, or returns a reader; ``to_index`` gets the `Results`, and returns the
asset's value. Both take inputs, resources and the context as the asset's own function does.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from datetime import timedelta
from typing import (
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from flowstone.core.asset import Asset, Definition, Phase
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.dependency import Dep
from flowstone.core.errors import DefinitionError, FlowStoneError
from flowstone.core.rate import Rate
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.retry import Retry
from flowstone.plugins.scatter.batching import Batched
from flowstone.plugins.scatter.feeding import ItemRules
from flowstone.plugins.scatter.options import Attempts, FailureMode, Mode, ScatterOptions
from flowstone.plugins.scatter.results import Results, Scattered
from flowstone.plugins.scatter.strategy import Scatter

K = TypeVar("K")
S = TypeVar("S")
R = TypeVar("R")
G = TypeVar("G")
P = ParamSpec("P")
G_co = TypeVar("G_co", covariant=True)

Given: TypeAlias = Iterable[K] | AsyncIterable[K] | ItemSource[K]
Items: TypeAlias = (
    Iterable[K]
    | Callable[..., Given[K]]
    | Callable[..., Awaitable[Given[K]]]
    | Asset[..., Iterable[K]]
)
AsyncGather: TypeAlias = Callable[Concatenate[Results[K, R], ...], Coroutine[Any, Any, G]]
PlainGather: TypeAlias = Callable[Concatenate[Results[K, R], ...], G]


class Options(TypedDict, total=False):
    """
    What can be said about a scatter; see `ScatterOptions` for the meaning of most.

    Attributes:
        retry_strategy: When an item is tried again, instead of ``max_attempts``.
    """

    max_concurrent: int | None
    rate_limit: Rate | str | None
    failure_threshold: float
    failure_mode: FailureMode
    max_attempts: int
    retry_strategy: Retry | None
    timeout: timedelta | str | float | None
    mode: Mode
    batch_size: int | None
    max_batches: int | None
    queue: str | None
    priority: int | None


class Gathering(Protocol[K, R, G_co]):
    """What ``scatter(..., gather=...)`` gives: takes the function of one item."""

    @overload
    def __call__(
        self,
        function: Callable[Concatenate[K, P], Coroutine[Any, Any, R | Skip | Snooze | Cancel]],
        /,
    ) -> Definition[Concatenate[K, P], G_co, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[K, P], R | Skip | Snooze | Cancel], /
    ) -> Definition[Concatenate[K, P], G_co, R]: ...
    @overload
    def __call__(
        self, function: Batched[K, P, Coroutine[Any, Any, R | Skip | Snooze | Cancel]], /
    ) -> Definition[P, G_co, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Batched[K, P, R | Skip | Snooze | Cancel], /
    ) -> Definition[P, G_co, R]: ...


class Counting(Protocol[K]):
    """What ``scatter(...)`` without ``gather`` gives: takes the function of one item."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[K, P], R], /
    ) -> Definition[Concatenate[K, P], Scattered, R]: ...
    @overload
    def __call__(self, function: Batched[K, P, R], /) -> Definition[P, Scattered, R]: ...


@overload
def scatter(
    items: Items[S],
    *,
    select: Callable[[S], K],
    gather: AsyncGather[K, R, G],
    key: Callable[[K], object] | None = ...,
    **options: Unpack[Options],
) -> Gathering[K, R, G]: ...
@overload
def scatter(
    items: Items[S],
    *,
    select: Callable[[S], K],
    gather: PlainGather[K, R, G],
    key: Callable[[K], object] | None = ...,
    **options: Unpack[Options],
) -> Gathering[K, R, G]: ...
@overload
def scatter(
    items: Items[K],
    *,
    gather: AsyncGather[K, R, G],
    key: Callable[[K], object] | None = ...,
    **options: Unpack[Options],
) -> Gathering[K, R, G]: ...
@overload
def scatter(
    items: Items[K],
    *,
    gather: PlainGather[K, R, G],
    key: Callable[[K], object] | None = ...,
    **options: Unpack[Options],
) -> Gathering[K, R, G]: ...
@overload
def scatter(
    items: Items[S],
    *,
    select: Callable[[S], K],
    key: Callable[[K], object] | None = ...,
    **options: Unpack[Options],
) -> Counting[K]: ...
@overload
def scatter(
    items: Items[K],
    *,
    key: Callable[[K], object] | None = ...,
    **options: Unpack[Options],
) -> Counting[K]: ...


def scatter(
    items: Any,
    *,
    gather: Callable[..., object] | None = None,
    select: Callable[[Any], object] | None = None,
    key: Callable[[Any], object] | None = None,
    max_attempts: int | None = None,
    retry_strategy: Retry | None = None,
    **options: Any,
) -> Callable[..., Any]:
    """
    Compute an asset by calling a function once for each of many items.

    ::

        @sales.asset
        @scatter(article_urls, gather=to_index, max_concurrent=50, failure_mode="partial")
        async def articles(url: Url, http: Http = Requires(Http)) -> Article: ...

    Args:
        items: A list; a function that returns or yields them, or returns a ``reader(...)``; an
            asset whose value they are.
        gather: Gets the `Results` as its first argument and returns the asset's value. Without it
            the value is `Scattered`: how many there were.
        select: From what was read to the item.
        key: From an item to what tells it from the others; by default the item does. Items with
            the same key are one.
        options: See `ScatterOptions`.

    Raises:
        DefinitionError: Something of it cannot be.
    """
    try:
        attempts = Attempts.of(max_attempts, retry_strategy)
        chosen = ScatterOptions.of(max_attempts=attempts.retry.max_attempts, **options)
    except (FlowStoneError, TypeError) as error:
        raise DefinitionError(f"scatter: {error}") from error
    phases = {"items": Phase(_items_function(items))}
    if gather is not None:
        phases["gather"] = Phase(gather, supplied=1)

    def define(
        function: Callable[..., object] | Batched[Any, ..., object],
    ) -> Definition[..., object, object]:
        batching = function.batching if isinstance(function, Batched) else None
        own = dict(phases)
        if batching is not None and callable(batching.input):
            own["input"] = Phase(batching.input)
        return Definition(
            function.function if isinstance(function, Batched) else function,
            strategy=Scatter(
                chosen,
                attempts.retry,
                ItemRules(select, key),
                gathers=gather is not None,
                batching=batching,
            ),
            phases=own,
            supplied=1,
            value_type=None if gather is not None else Scattered,
            value_phase=None if gather is None else "gather",
        )

    return define


def _items_function(items: object) -> Callable[..., object]:
    if isinstance(items, Asset):
        source = Dep(items)

        def of_asset(items: Any = source) -> object:
            return items

        return of_asset
    if callable(items):
        return items
    if isinstance(items, Iterable) and not isinstance(items, str | bytes):
        listed = list(items)

        def listing() -> object:
            return listed

        return listing
    shown = type(items).__qualname__
    raise DefinitionError(
        f"scatter: its items are a {shown}; give a list, or a function that returns or yields them"
    )
