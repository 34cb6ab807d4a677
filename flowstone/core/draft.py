"""
From a decorated function to an asset: what the decorators said, put together.

``@pipeline.asset`` and ``@pipeline.job`` leave a `Draft` that waits for its function.
"""

import functools
import inspect
import os
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from flowstone.core.annotations import innermost
from flowstone.core.asset import Asset, AssetRef, Definition, Location, Phase
from flowstone.core.code_version import code_version
from flowstone.core.errors import DefinitionError
from flowstone.core.options import Options, name_objection
from flowstone.core.signature import full_name

K = TypeVar("K")

_OURS = os.path.dirname(__file__) + os.sep


@dataclass(frozen=True, slots=True)
class Draft(Generic[K]):
    """
    A definition that still waits for its function.

    Attributes:
        kind: What it will be: ``asset`` or ``job``.
        pipeline: The name of its pipeline.
        keep: Takes the asset that was made, and returns what takes the function's place.
    """

    kind: str
    pipeline: str
    name: str | None
    options: Options
    objections: Sequence[str]
    keep: Callable[[Asset[..., object]], K]
    after: Sequence[AssetRef] = ()

    def __call__(self, given: object) -> K:
        around = surroundings()
        called_at = Location(around.f_code.co_filename, around.f_lineno)
        parts = _Parts(self.kind, given, called_at)
        function = parts.function
        name = self.name if self.name is not None else str(getattr(function, "__name__", ""))
        wrong = [*self.objections, *parts.objections]
        objection = name_objection(f"{'an' if self.kind == 'asset' else 'a'} {self.kind}", name)
        if objection:
            wrong.append(f'{objection}; say {self.kind}(name="...")')
        asset: Asset[..., object] = Asset(
            name=name,
            pipeline=self.pipeline,
            function=function,
            options=replace(self.options, description=self.options.description or parts.docstring),
            source=parts.source,
            code_version=self.options.version or code_version(parts.functions, parts.fingerprint),
            strategy=parts.strategy,
            phases=parts.phases,
            supplied=parts.supplied,
            takes_arguments=self.kind == "job",
            after=_names([*parts.after, *self._after(wrong)], self.pipeline, wrong),
            objections=tuple(wrong),
            declared_value_type=parts.value_type,
            value_phase=parts.value_phase,
            local_names=_local_names(function, around),
        )
        return self.keep(asset)

    def _after(self, wrong: list[str]) -> Sequence[object]:
        if isinstance(self.after, Sequence) and not isinstance(self.after, str):
            return self.after
        wrong.append(f"after={self.after!r} must be a list: after=[...]")
        return ()


class _Parts:
    """What the decorators below ``@pipeline.asset`` said, put together."""

    def __init__(self, kind: str, given: object, called_at: Location) -> None:
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
        self.function = _function(kind, given, called_at)
        self.source = _location(self.function) or called_at
        self.docstring = inspect.cleandoc(innermost(self.function).__doc__ or "")
        self.functions = [self.function, *(phase.function for phase in self.phases.values())]
        self.fingerprint = str(getattr(self.strategy, "fingerprint", ""))
        if self.value_phase not in (None, *self.phases):
            self.objections.append(f"its value comes from '{self.value_phase}', which is no phase")
            self.value_phase = None
        if self.strategy is None and (
            inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)
        ):
            an = "an asset returns its value, for example a list"
            self.objections.append(f"it yields; {an if kind == 'asset' else 'a job returns'}")

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


def _function(kind: str, given: object, called_at: Location) -> Callable[..., object]:
    if inspect.isroutine(given) or isinstance(given, functools.partial):
        try:
            inspect.signature(given)
        except ValueError:
            raise DefinitionError(f"{called_at}  {given!r} does not tell its parameters") from None
        return given
    if isinstance(given, Asset):
        raise DefinitionError(f"{called_at}  '{given.full_name}' is an asset already")
    if isinstance(given, str):
        raise DefinitionError(f'{called_at}  options go by keyword: {kind}(name="{given}")')
    what = f"the class {given.__qualname__}" if isinstance(given, type) else repr(given)
    raise DefinitionError(f"{called_at}  {kind}() takes a function, not {what}")


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


def surroundings() -> types.FrameType:
    """Return the frame of the author's code that a definition is made in."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back:
        frame = frame.f_back
    return frame


def _local_names(
    function: Callable[..., object], surroundings: types.FrameType
) -> dict[str, object] | None:
    """Return the local names around a nested function, if it was defined where it is decorated."""
    around, is_nested, _ = getattr(innermost(function), "__qualname__", "").rpartition(".<locals>.")
    is_here = around == surroundings.f_code.co_qualname
    return dict(surroundings.f_locals) if is_nested and is_here else None
