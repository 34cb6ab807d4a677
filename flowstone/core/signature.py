"""
What a function wants, parameter by parameter, read from its signature once.

Every parameter has one source: a marker (``Dep``, ``Requires`` or a plugin's) as its default or in
``Annotated``, its type (`Context`, a `Config`), or the asset's strategy, which supplies it when it
calls. What has none is refused: a name never makes an edge. Of a job what has none is an argument,
which whoever enqueues the job gives.
"""

import datetime
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flowstone.core import annotations, partition
from flowstone.core.annotations import Unresolved
from flowstone.core.config import Config
from flowstone.core.context import Context
from flowstone.core.job_context import JobContext
from flowstone.core.parameters import (
    NOT_GIVEN,
    Argument,
    Input,
    Missing,
    OwnArgument,
    Requirement,
)
from flowstone.core.results import without_outcomes
from flowstone.core.source import ResourceMarker, Source

_PARTITIONS = (str, bool, int, float, datetime.date, datetime.datetime, tuple)


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """
    What one function of an asset wants.

    Attributes:
        function: The function.
        phase: Its name among the asset's phases; empty is the asset's own function.
        arguments: The parameters that sources fill.
        requirements: The parameters that resources fill.
        context_parameter: The one that gets the `Context`, or None.
        partition_type: The ``X`` of ``Context[X]``, as `flowstone.core.partition.decode` wants it;
            None when the function does not say.
        needs_partition: Whether its ``X`` has no None in it, so that there has to be a partition.
        config_parameter: The one that gets the configuration, or None.
        supplied: The parameters that the strategy supplies, in order.
        supplied_types: What they are annotated to be; ``object`` where nothing is said.
        own_arguments: Of a job: the parameters that whoever enqueues it gives, in order.
        is_async: Whether a call gives a coroutine.
        value_type: The return annotation without outcomes; ``object`` when there is none.
        missing: Parameters without a source.
        objections: What else is wrong, in words.
    """

    function: Callable[..., object]
    phase: str = ""
    arguments: tuple[Argument, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    context_parameter: str | None = None
    partition_type: type | None = None
    needs_partition: bool = False
    config_parameter: str | None = None
    config_type: type[Config] | None = None
    supplied: tuple[str, ...] = ()
    supplied_types: Mapping[str, object] = field(default_factory=dict)
    own_arguments: tuple[OwnArgument, ...] = ()
    is_async: bool = False
    value_type: object = object
    missing: tuple[Missing, ...] = ()
    objections: tuple[str, ...] = ()
    _positional: tuple[str, ...] = field(default=(), repr=False)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Every upstream value, in the order of the parameters."""
        return tuple(wanted for argument in self.arguments for wanted in argument.inputs)

    def partition_of(self, encoded: str) -> object:
        """Return the partition that the function's `Context` has."""
        return partition.decode(encoded, self.partition_type)

    def call(self, arguments: Mapping[str, object]) -> object:
        """Call the function with an argument for each parameter, by name."""
        if not self._positional:
            return self.function(**arguments)
        by_name = dict(arguments)
        positional = [by_name.pop(name) for name in self._positional]
        return self.function(*positional, **by_name)


def read(
    function: Callable[..., object],
    *,
    pipeline: str,
    phase: str = "",
    supplied: int | Sequence[str] = 0,
    takes_arguments: bool = False,
    local_names: Mapping[str, object] | None = None,
) -> Signature:
    """
    Read a function's signature; what is wrong with it is in the result, nothing is raised.

    Args:
        pipeline: The name of the asset's pipeline, which names without a dot belong to.
        supplied: The parameters that the strategy supplies: their names, or how many come first.
        takes_arguments: Whether it is a job's, whose own arguments have no other source.
        local_names: What was in scope where the function was defined.
    """
    types = annotations.resolve(function, local_names)
    reader = _Reader(function, pipeline, phase, types, takes_arguments)
    reader.read(supplied)
    return reader.signature()


def returned_type(
    function: Callable[..., object], local_names: Mapping[str, object] | None = None
) -> object:
    """Return what `Signature.value_type` would be, without reading the parameters."""
    annotation = annotations.resolve(function, local_names).get("return", object)
    return object if isinstance(annotation, Unresolved) else without_outcomes(annotation)


def default_markers(function: Callable[..., object]) -> dict[str, int]:
    """Return the parameters whose default is a marker, with their places; for direct calls."""
    return {
        parameter.name: place
        for place, parameter in enumerate(inspect.signature(function).parameters.values())
        if isinstance(parameter.default, Source | ResourceMarker)
    }


def _is_no_type(name: str, marker: Source | ResourceMarker) -> str:
    """Say that a marker stands where a type belongs, and what to write."""
    kind: object
    if isinstance(marker, ResourceMarker):
        kind, written = marker.type, f"Requires({marker.type.__qualname__})"
    else:
        kind, written = marker.decoded_as(object), str(marker)
    shown = "..." if kind is object else annotations.type_text(kind)
    if isinstance(marker, Source) and any(it.optional for it in marker.edges()):
        shown += " | None"
    return f"parameter '{name}': {written} is no type. Write {name}: {shown} = {written}"


class _Reader:
    def __init__(
        self,
        function: Callable[..., object],
        pipeline: str,
        phase: str,
        types: Mapping[str, object],
        takes_arguments: bool,
    ) -> None:
        self.function = function
        self.pipeline = pipeline
        self.phase = phase
        self.types = types
        self.takes_arguments = takes_arguments
        self.own_arguments: list[OwnArgument] = []
        self.arguments: list[Argument] = []
        self.requirements: list[Requirement] = []
        self.contexts: list[str] = []
        self.partition_type: type | None = None
        self.needs_partition = False
        self.configs: list[tuple[str, type[Config]]] = []
        self.supplied: tuple[str, ...] = ()
        self.supplied_types: dict[str, object] = {}
        self.missing: list[Missing] = []
        self.objections: list[str] = []
        self.positional: tuple[str, ...] = ()

    def signature(self) -> Signature:
        return Signature(
            function=self.function,
            phase=self.phase,
            arguments=tuple(self.arguments),
            requirements=tuple(self.requirements),
            context_parameter=self.contexts[0] if self.contexts else None,
            partition_type=self.partition_type,
            needs_partition=self.needs_partition,
            config_parameter=self.configs[0][0] if self.configs else None,
            config_type=self.configs[0][1] if self.configs else None,
            supplied=self.supplied,
            supplied_types=self.supplied_types,
            own_arguments=tuple(self.own_arguments),
            is_async=inspect.iscoroutinefunction(self.function),
            value_type=self._value_type(),
            missing=tuple(self.missing),
            objections=tuple(self.objections),
            _positional=self.positional,
        )

    def read(self, supplied: int | Sequence[str]) -> None:
        parameters = self._parameters()
        self.supplied = self._supplied(list(parameters), supplied)
        self.positional = tuple(
            name for name, it in parameters.items() if it.kind is it.POSITIONAL_ONLY
        )
        for name, parameter in parameters.items():
            if name in self.supplied:
                self._read_supplied(name)
            else:
                self._read_parameter(parameter)
        if len(self.contexts) > 1:
            kind = "JobContext" if self.takes_arguments else "Context"
            self.objections.append(f"two parameters want the {kind}: {', '.join(self.contexts)}")
        if len(self.configs) > 1:
            names = ", ".join(name for name, _ in self.configs)
            self.objections.append(f"two parameters want a Config: {names}; put them in one class")

    def _parameters(self) -> dict[str, inspect.Parameter]:
        parameters = dict(inspect.signature(self.function).parameters)
        bound = getattr(self.function, "keywords", None) or {}  # of a functools.partial
        for name, parameter in list(parameters.items()):
            if name in bound:
                del parameters[name]
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self.objections.append(
                    f"'{parameter}' is refused: name every parameter, so that it has a source"
                )
                del parameters[name]
        return parameters

    def _supplied(self, names: list[str], supplied: int | Sequence[str]) -> tuple[str, ...]:
        if isinstance(supplied, int):
            if supplied > len(names):
                self.objections.append(
                    f"{self._called()} is given {supplied} arguments by its strategy, "
                    f"but has {len(names)} parameters"
                )
            return tuple(names[:supplied])
        self.objections += [
            f"{self._called()} has no parameter '{name}', which its strategy supplies"
            for name in supplied
            if name not in names
        ]
        return tuple(name for name in supplied if name in names)

    def _read_supplied(self, name: str) -> None:
        annotation = annotations.without_marks(self.types.get(name, object))
        if isinstance(annotation, Unresolved):
            self._unresolved(f"parameter '{name}'", annotation)
        self.supplied_types[name] = annotation

    def _called(self) -> str:
        return f"its {self.phase} function" if self.phase else "its function"

    def _read_parameter(self, parameter: inspect.Parameter) -> None:
        annotation = self.types.get(parameter.name, object)
        markers = [
            mark
            for mark in getattr(annotation, "__metadata__", ())
            if isinstance(mark, Source | ResourceMarker)
        ]
        if parameter.default is not NOT_GIVEN:
            if isinstance(parameter.default, Source | ResourceMarker):
                markers.append(parameter.default)
            elif markers:
                self.objections.append(
                    f"parameter '{parameter.name}' has a source in Annotated and a default"
                )
        if len(markers) > 1:
            self.objections.append(f"parameter '{parameter.name}' has {len(markers)} sources")
        wanted = annotations.without_marks(annotation)
        match markers[:1]:
            case [Source()] if self.takes_arguments:
                self.objections.append(
                    f"parameter '{parameter.name}' is an edge; a job has none: make it an asset, "
                    "or an argument"
                )
            case [Source() as source]:
                self._add_argument(parameter.name, source, wanted)
            case [ResourceMarker(type=kind)]:
                self.requirements.append(Requirement(parameter.name, kind, self.phase))
            case _:
                self._read_by_type(parameter, wanted)

    def _add_argument(self, name: str, source: Source, annotation: object) -> None:
        if isinstance(annotation, Unresolved):
            wanted = source.decoded_as(object)
            if wanted is object:
                self._unresolved(f"parameter '{name}'", annotation)
        else:
            wanted = source.decoded_as(annotation)
            objection = source.objection(annotation)
            if objection:
                self.objections.append(f"parameter '{name}': {objection}")
        inputs = tuple(
            Input(name, full_name(upstream, self.pipeline), optional, wanted, self.phase, awaited)
            for upstream, optional, awaited in source.edges()
        )
        self.arguments.append(Argument(name, source, inputs, annotation))

    def _read_by_type(self, parameter: inspect.Parameter, annotation: object) -> None:
        kind = typing.get_origin(annotation) or annotation
        if self.takes_arguments:
            self._read_own_argument(parameter, annotation)
        elif kind is JobContext:
            self.objections.append(f"parameter '{parameter.name}': an asset is given a Context")
        elif kind is Context:
            self.contexts.append(parameter.name)
            for argument in typing.get_args(annotation):
                self._read_partition_type(argument)
        elif isinstance(kind, type) and issubclass(kind, Config):
            self.configs.append((parameter.name, kind))
        elif isinstance(annotation, Unresolved):
            self._unresolved(f"parameter '{parameter.name}'", annotation)
        elif isinstance(annotation, Source | ResourceMarker):
            self.objections.append(_is_no_type(parameter.name, annotation))
        else:
            given = parameter.default is not NOT_GIVEN
            self.missing.append(
                Missing(
                    parameter.name,
                    annotations.type_text(annotation) if parameter.name in self.types else "",
                    repr(parameter.default) if given else None,
                )
            )

    def _read_own_argument(self, parameter: inspect.Parameter, annotation: object) -> None:
        kind = typing.get_origin(annotation) or annotation
        if kind is JobContext:
            self.contexts.append(parameter.name)
        elif kind is Context:
            self.objections.append(f"parameter '{parameter.name}': a job is given a JobContext")
        elif isinstance(annotation, Unresolved):
            self._unresolved(f"parameter '{parameter.name}'", annotation)
        else:
            is_keyword = parameter.kind is parameter.KEYWORD_ONLY
            self.own_arguments.append(
                OwnArgument(parameter.name, annotation, parameter.default, is_keyword)
            )

    def _read_partition_type(self, annotation: object) -> None:
        self.needs_partition = not annotations.accepts_none(annotation)
        members = typing.get_args(annotation) if annotations.is_union(annotation) else [annotation]
        kinds = [it for it in members if it is not annotations.NoneType]
        if not kinds:
            return
        found = typing.get_origin(kinds[0]) or kinds[0]
        if len(kinds) > 1 or found in (object, typing.Any) or isinstance(found, typing.TypeVar):
            return
        if isinstance(found, type) and issubclass(found, _PARTITIONS):
            self.partition_type = found
        else:
            text = annotations.type_text(annotation)
            allowed = ", ".join(kind.__name__ for kind in _PARTITIONS)
            self.objections.append(f"Context[{text}]: a partition is one of {allowed}")

    def _value_type(self) -> object:
        annotation = self.types.get("return", object)
        if isinstance(annotation, Unresolved):
            self._unresolved("the return annotation", annotation)
            return object
        return without_outcomes(annotation)

    def _unresolved(self, subject: str, annotation: Unresolved) -> None:
        self.objections.append(
            f"{subject} is annotated '{annotation.text}', which does not name a type here: "
            f"{annotation.reason}"
        )


def full_name(name: str, pipeline: str) -> str:
    """Return an asset's full name; one without a dot belongs to the pipeline."""
    return name if "." in name else f"{pipeline}.{name}"
