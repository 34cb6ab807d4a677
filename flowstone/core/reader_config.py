"""
The configuration of an item reader: merged, filled in, and split.

What is registered with a name comes first, what the asset says is laid over it. Then values that
are functions are called, wherever they stand in it. What every reader takes is `ReadingLimits`;
the rest is handed to the reader.
"""

import functools
import inspect
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.contracts.item_source import AnyReader, ItemSource
from flowstone.core.errors import InvalidOptionError
from flowstone.core.registry import Registry
from flowstone.core.resources import Env

PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """
    What every reader takes.

    Attributes:
        page_size: The most items that are asked for at once.
        max_items: The most items that are read in all; None is no limit.
        max_batches: The most pages with items.
    """

    page_size: int = PAGE_SIZE
    max_items: int | None = None
    max_batches: int | None = None


def resolve(
    source: ItemSource[object], readers: Registry[AnyReader]
) -> tuple[AnyReader, Mapping[str, object]]:
    """
    Return a source's reader and its merged configuration.

    Raises:
        NotRegisteredError: The application has no reader of that name.
    """
    implementation: AnyReader | Callable[..., AnyReader]
    if isinstance(source.reader, str):
        implementation, config = readers.resolve_with_config(source.reader, source.config)
    else:
        implementation, config = source.reader, source.config
    subject = f"item reader '{source.label}'"
    made: object = implementation if isinstance(implementation, ItemReader) else implementation()
    if not isinstance(made, ItemReader):
        raise InvalidOptionError(f"{subject} made a {type(made).__qualname__}, not an ItemReader")
    check_implementation(made, ItemReader, subject=subject)
    return made, config


async def filled_in(
    config: Mapping[str, object], deps: Mapping[str, object], kept: Collection[str] = ()
) -> Mapping[str, object]:
    """
    Return the configuration with functions and environment variables replaced by their values.

    Args:
        deps: What a function of one argument is given.
        kept: Top-level entries that stay functions.

    Raises:
        InvalidOptionError: A function takes more than one argument, or a variable is not set.
    """
    return {
        name: value if name in kept else await _filled_in(name, value, deps)
        for name, value in config.items()
    }


async def _filled_in(name: str, value: object, deps: Mapping[str, object]) -> object:
    if isinstance(value, Env):
        return value.look_up(os.environ)
    if isinstance(value, Mapping):
        return {key: await _filled_in(f"{name}.{key}", it, deps) for key, it in value.items()}
    if isinstance(value, list | tuple):
        items = [await _filled_in(f"{name}[{at}]", it, deps) for at, it in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        result = _called(name, value, deps)
        return await result if inspect.isawaitable(result) else result
    return value


def _called(name: str, function: Callable[..., object], deps: Mapping[str, object]) -> object:
    required = [
        it
        for it in inspect.signature(function).parameters.values()
        if it.default is it.empty and it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD)
    ]
    if not required:
        return function()
    if len(required) == 1 and required[0].kind is not inspect.Parameter.KEYWORD_ONLY:
        return function(deps)
    raise InvalidOptionError(
        f"'{name}' is a function of {len(required)} arguments; it can take none, or the inputs by "
        f"name: {name}=lambda deps: deps[…]"
    )


def limits_of(
    config: Mapping[str, object], page_size: int | None = None
) -> tuple[ReadingLimits, Mapping[str, object]]:
    """
    Return the limits of a filled-in configuration, and the rest of it.

    Args:
        page_size: Of whoever wants the pages; the smaller of this and the configuration's counts.

    Raises:
        InvalidOptionError: One of them is not a whole number above zero.
    """
    names = ("page_size", "max_items", "max_batches")
    given: dict[str, int] = {}
    for name, value in [*((it, config.get(it)) for it in names), ("page_size", page_size)]:
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidOptionError(f"{name}={value!r} must be a whole number above zero")
        given[name] = min(value, given.get(name, value))
    return ReadingLimits(**given), {k: v for k, v in config.items() if k not in names}
