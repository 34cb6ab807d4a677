"""
A named collection of assets.

::

    sales = Pipeline("sales", io="lake")

    @sales.asset
    async def numbers() -> list[int]:
        return [1, 2, 3]

A pipeline is a value: nothing is registered anywhere until it is given to ``FlowStone([sales])``.
"""

import functools
import inspect
import os
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from flowstone.core.annotations import innermost
from flowstone.core.asset import Asset, AssetRef, Definition, Location, Phase
from flowstone.core.code_version import code_version
from flowstone.core.errors import DefinitionError, Problem
from flowstone.core.io_choice import IOLike
from flowstone.core.options import OptionReader, Options, name_objection
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.retry import Retry
from flowstone.core.signature import full_name

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class AssetDecorator(Protocol):
    """What ``pipeline.asset(...)`` with options gives; typed like ``pipeline.asset`` itself."""

    @overload
    def __call__(self, function: Definition[P, T, R], /) -> Asset[P, T, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Awaitable[T]]: ...
    @overload
    def __call__(self, function: Callable[P, T | Skip | Snooze | Cancel], /) -> Asset[P, T, T]: ...


class Pipeline:
    """
    Assets that belong together, with defaults for their options.

    Args:
        name: The first half of its assets' full names, and what rows call it: letters, digits and
            underscores.
        io: The IO manager of assets that name none; a name, or (name, configuration).
        queue: The queue of assets that name none.
        retry: The policy of assets that have none; a number is how often one is tried in all.
        timeout: The longest attempt of assets that say nothing else.
        priority: The priority of assets that have none; higher is sooner.
        tags: Added to those of every asset.
        owner: Whose the assets are that have no owner of their own.

    Raises:
        DefinitionError: The name or a default is not acceptable.
    """

    def __init__(
        self,
        name: str,
        *,
        io: IOLike | None = None,
        queue: str | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        priority: int = 0,
        tags: Sequence[str] = (),
        owner: str | None = None,
    ) -> None:
        caller = _surroundings()
        self.source = Location(caller.f_code.co_filename, caller.f_lineno)
        read = OptionReader()
        self.defaults = Options(
            io=read.io(io),
            queue=read.queue(queue),
            retry=read.retry(retry),
            timeout=read.timeout(timeout),
            priority=read.priority(priority),
            tags=read.texts("tags", tags),
            owner=read.text("owner", owner),
        )
        wrong = [name_objection("a pipeline", name), *read.objections]
        problems = [Problem(it, where=str(self.source)) for it in wrong if it]
        if problems:
            raise DefinitionError(problems=problems)
        self.name = name
        self._assets: list[Asset[..., object]] = []
        self._places: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<pipeline {self.name}: {len(self._assets)} assets>"

    @property
    def assets(self) -> tuple[Asset[..., object], ...]:
        """The assets in the order in which they were defined."""
        return tuple(self._assets)

    @overload
    def asset(self, function: Definition[P, T, R], /) -> Asset[P, T, R]: ...
    @overload
    def asset(
        self, function: Callable[P, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def asset(
        self, function: Callable[P, Awaitable[T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Awaitable[T]]: ...
    @overload
    def asset(self, function: Callable[P, T | Skip | Snooze | Cancel], /) -> Asset[P, T, T]: ...
    @overload
    def asset(
        self,
        /,
        *,
        name: str | None = None,
        io: IOLike | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        owner: str | None = None,
        description: str | None = None,
        aliases: Sequence[str] = (),
        after: Sequence[AssetRef] = (),
        version: str | None = None,
        executor: Literal["thread", "process"] | None = None,
    ) -> AssetDecorator: ...

    def asset(
        self,
        function: object = None,
        /,
        *,
        name: str | None = None,
        io: IOLike | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        owner: str | None = None,
        description: str | None = None,
        aliases: Sequence[str] = (),
        after: Sequence[AssetRef] = (),
        version: str | None = None,
        executor: Literal["thread", "process"] | None = None,
    ) -> object:
        """
        Make an asset of the function below; with or without parentheses.

        An option's wrong value is told when the application is built, together with whatever else
        is wrong.

        Args:
            name: By default the function's.
            io: The IO manager that keeps the value: its name, or (name, configuration).
            retry: The policy of attempts; a number is how often it is tried in all.
            timeout: The longest that one attempt may take.
            queue: Which workers run it; at most 40 bytes.
            priority: Higher is sooner, among what is ready in the same queue.
            tags: Words for people and selectors.
            owner: Whom to ask.
            description: By default the function's docstring.
            aliases: Names that the asset had before, so that its history stays its own.
            after: Assets that have to come first; nothing is loaded from them.
            version: Replaces the hash of the code when it is decided whether a value is fresh.
            executor: Where a plain function runs: in a thread (the default), or in a child process
                (``"process"``) if it holds the GIL for long.

        Raises:
            DefinitionError: It is not a function.
        """
        read = OptionReader()
        options = Options(
            io=read.io(io) or self.defaults.io,
            retry=read.retry(retry) or self.defaults.retry,
            timeout=read.timeout(timeout) or self.defaults.timeout,
            queue=read.queue(queue) or self.defaults.queue,
            priority=self.defaults.priority if priority is None else read.priority(priority),
            tags=tuple(dict.fromkeys((*self.defaults.tags, *read.texts("tags", tags)))),
            owner=read.text("owner", owner) or self.defaults.owner,
            description=read.description(description),
            aliases=tuple(full_name(it, self.name) for it in read.texts("aliases", aliases)),
            version=read.text("version", version),
            executor=read.executor(executor),
        )
        draft = _Draft(self, name, options, after, read.objections)
        return draft if function is None else draft(function)

    def add(self, asset: Asset[..., object]) -> None:
        """
        Keep an asset that was made for this pipeline.

        In a notebook, a cell that is run again replaces what it defined. Elsewhere two assets of
        one name are both kept, and refused when the application is built.
        """
        place = self._places.setdefault(asset.name, len(self._assets))
        if place < len(self._assets) and _is_same_cell(self._assets[place], asset):
            self._assets[place] = asset
        else:
            self._assets.append(asset)


@dataclass(frozen=True, slots=True)
class _Draft:
    """An asset that still waits for its function."""

    pipeline: Pipeline
    name: str | None
    options: Options
    after: Sequence[AssetRef]
    objections: Sequence[str]

    def __call__(self, given: object) -> Asset[..., object]:
        surroundings = _surroundings()
        parts = _Parts(given, Location(surroundings.f_code.co_filename, surroundings.f_lineno))
        function = parts.function
        name = self.name if self.name is not None else str(getattr(function, "__name__", ""))
        wrong = [*self.objections, *parts.objections]
        objection = name_objection("an asset", name)
        if objection:
            wrong.append(f'{objection}; say asset(name="...")')
        asset: Asset[..., object] = Asset(
            name=name,
            pipeline=self.pipeline.name,
            function=function,
            options=replace(self.options, description=self.options.description or parts.docstring),
            source=parts.source,
            code_version=self.options.version or code_version(parts.functions),
            strategy=parts.strategy,
            phases=parts.phases,
            supplied=parts.supplied,
            after=_names([*parts.after, *self._after(wrong)], self.pipeline.name, wrong),
            objections=tuple(wrong),
            declared_value_type=parts.value_type,
            value_phase=parts.value_phase,
            local_names=_local_names(function, surroundings),
        )
        self.pipeline.add(asset)
        return asset

    def _after(self, wrong: list[str]) -> Sequence[object]:
        if isinstance(self.after, Sequence) and not isinstance(self.after, str):
            return self.after
        wrong.append(f"after={self.after!r} must be a list: after=[...]")
        return ()


class _Parts:
    """What the decorators below ``@pipeline.asset`` said, put together."""

    def __init__(self, given: object, called_at: Location) -> None:
        self.objections: list[str] = []
        self.strategy: object = None
        self.phases: dict[str, Phase] = {}
        self.supplied: int | Sequence[str] = 0
        self.value_type: object = None
        self.value_phase: str | None = None
        self.after: list[object] = []
        while isinstance(given, Definition):
            self._take(given)
            given = given.function
        self.function = _function(given, called_at)
        self.source = _location(self.function) or called_at
        self.docstring = inspect.cleandoc(innermost(self.function).__doc__ or "")
        self.functions = [self.function, *(phase.function for phase in self.phases.values())]
        if self.value_phase not in (None, *self.phases):
            self.objections.append(f"its value comes from '{self.value_phase}', which is no phase")
            self.value_phase = None
        if self.strategy is None and (
            inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)
        ):
            self.objections.append("it yields; an asset returns its value, for example a list")

    def _take(self, definition: Definition[..., object]) -> None:
        if self.strategy is not None and definition.strategy is not None:
            both = f"{type(definition.strategy).__name__} and {type(self.strategy).__name__}"
            self.objections.append(f"it has two strategies, {both}; one is the most")
        self.strategy = self.strategy or definition.strategy
        for name, phase in definition.phases.items():
            self.phases.setdefault(name, phase if isinstance(phase, Phase) else Phase(phase))
        self.supplied = self.supplied or definition.supplied
        if self.value_type is None and self.value_phase is None:
            self.value_type = definition.value_type
            self.value_phase = definition.value_phase
        self.after += definition.after


def _function(given: object, called_at: Location) -> Callable[..., object]:
    if inspect.isroutine(given) or isinstance(given, functools.partial):
        try:
            inspect.signature(given)
        except ValueError:
            raise DefinitionError(f"{called_at}  {given!r} does not tell its parameters") from None
        return given
    if isinstance(given, Asset):
        raise DefinitionError(f"{called_at}  '{given.full_name}' is an asset already")
    if isinstance(given, str):
        raise DefinitionError(f'{called_at}  options go by keyword: asset(name="{given}")')
    what = f"the class {given.__qualname__}" if isinstance(given, type) else repr(given)
    raise DefinitionError(f"{called_at}  asset() takes a function, not {what}")


def _names(given: Sequence[object], pipeline: str, wrong: list[str]) -> tuple[str, ...]:
    """Return the full names of what comes first; what is no asset goes to ``wrong``."""
    names: dict[str, None] = {}
    for upstream in given:
        if isinstance(upstream, Asset):
            names[upstream.full_name] = None
        elif isinstance(upstream, str):
            names[full_name(upstream, pipeline)] = None
        else:
            shown = getattr(upstream, "__name__", repr(upstream))
            wrong.append(f"after=[{shown}]: '{shown}' is no asset")
    return tuple(names)


def _location(function: Callable[..., object]) -> Location | None:
    code = getattr(innermost(function), "__code__", None)
    return Location(code.co_filename, code.co_firstlineno) if code else None


def _surroundings() -> types.FrameType:
    """Return the frame from which this module was called."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back:
        frame = frame.f_back
    return frame


def _local_names(
    function: Callable[..., object], surroundings: types.FrameType
) -> dict[str, object] | None:
    """Return the local names around a nested function, if it was defined where it is decorated."""
    around, is_nested, _ = getattr(innermost(function), "__qualname__", "").rpartition(".<locals>.")
    is_here = around == surroundings.f_code.co_qualname
    return dict(surroundings.f_locals) if is_nested and is_here else None


def _is_same_cell(known: Asset[..., object], again: Asset[..., object]) -> bool:
    """Whether both come from a notebook's or a prompt's cells, and from the same function name."""
    old, new = innermost(known.function), innermost(again.function)
    return (
        new.__module__ == old.__module__ == "__main__"
        and getattr(new, "__qualname__", "") == getattr(old, "__qualname__", None)
        and not os.path.exists(again.source.file)
    )
