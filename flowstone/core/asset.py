"""
An asset: a function, what it needs, and what was said about it.

`Asset` is what ``@pipeline.asset`` leaves in place of the function. It describes and stays callable
as what it was. `Definition` is what a plugin's decorator below ``@pipeline.asset`` returns: the
function together with the strategy that computes the asset.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

from flowstone.core import signature
from flowstone.core.config import Config
from flowstone.core.errors import DefinitionError
from flowstone.core.options import Options
from flowstone.core.parameters import Input, Requirement
from flowstone.core.signature import Signature

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)

if TYPE_CHECKING:
    # Checkers know defaults (PEP 696) before Python 3.13 does: ``Asset[..., int]`` is enough where
    # the result of a direct call does not matter.
    R_co = TypeVar(  # pyright: ignore[reportGeneralTypeIssues]
        "R_co", covariant=True, default=object
    )
else:
    R_co = TypeVar("R_co", covariant=True)

S = TypeVar("S")


class Location(NamedTuple):
    """Where something was defined; as text relative to the working directory, if it is inside."""

    file: str
    line: int

    def __str__(self) -> str:
        here = os.getcwd() + os.sep
        return f"{self.file.removeprefix(here)}:{self.line}"


class Phase(NamedTuple):
    """
    A further function of an asset: items, gather, on_signal …

    Its markers are edges of the asset like those of the asset's own function.

    Attributes:
        supplied: The parameters that the strategy supplies: their names, or how many come first.
    """

    function: Callable[..., object]
    supplied: int | Sequence[str] = 0


class _TwoOrThree:
    """Lets ``X[P, T]`` stand for ``X[P, T, object]`` at run time, as it does for checkers."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters):
            if isinstance(parameters, tuple) and len(parameters) == 2:
                parameters = (*parameters, object)
            return super().__class_getitem__(parameters)


@dataclass(frozen=True, eq=False)
class Definition(_TwoOrThree, Generic[P, T_co, R_co]):
    """
    A function with the strategy that computes its asset, made by a plugin's decorator.

    ``P`` is how the function is called directly, ``T_co`` the asset's value, and ``R_co`` what a
    direct call returns.

    Attributes:
        function: The author's function, or the definition that a decorator below this one made;
            of several, at most one has a strategy.
        strategy: A `flowstone.core.contracts.strategy.Strategy`; None leaves the function to be
            called as it is.
        phases: Further functions by name.
        supplied: The parameters of the function that the strategy supplies when it calls it: their
            names, or how many come first.
        value_type: The type of the asset's value, when it is not what the function returns.
        value_phase: The phase that returns the asset's value, when it is not the function.
        after: Assets, or names of assets, that have to come first; nothing is loaded from them.
    """

    function: "Callable[P, R_co] | Definition[P, object, R_co]"
    strategy: object = None
    phases: Mapping[str, Callable[..., object] | Phase] = field(default_factory=dict)
    supplied: int | Sequence[str] = 0
    value_type: object = None
    value_phase: str | None = None
    after: "Sequence[AssetRef]" = ()

    def __post_init__(self) -> None:
        if isinstance(self.function, Asset):
            raise DefinitionError(
                f"{self.function.source}  asset '{self.function.full_name}': @pipeline.asset has "
                "to be above its other decorators"
            )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Asset(_TwoOrThree, Generic[P, T_co, R_co]):
    """
    A function and everything that is known about it as an asset.

    Called directly, it is the function: no inputs are loaded and nothing is stored.

    Attributes:
        name: Its name in the pipeline.
        pipeline: The pipeline's name.
        function: The author's function.
        strategy: What computes it instead of a plain call, or None.
        phases: The functions that the strategy calls besides, by name.
        after: Full names of assets that have to come first.
        options: What was said about it, checked.
        source: Where it is defined.
        code_version: Changes when the code of the function or a phase does, or ``version=``.
        objections: What is wrong with its options, in words.
        takes_arguments: Whether parameters without a source are given by who enqueues it: it is
            the body of a job.
    """

    name: str
    pipeline: str
    function: Callable[P, R_co]
    options: Options
    source: Location
    code_version: str
    strategy: object = None
    phases: Mapping[str, Phase] = field(default_factory=dict)
    supplied: int | Sequence[str] = 0
    takes_arguments: bool = False
    after: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    declared_value_type: object = None
    value_phase: str | None = None
    local_names: Mapping[str, object] | None = None
    full_name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "full_name", f"{self.pipeline}.{self.name}")
        object.__setattr__(self, "__doc__", self.options.description)
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__wrapped__", self.function)
        object.__setattr__(self, "__module__", getattr(self.function, "__module__", ""))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """
        Call the function.

        Raises:
            DefinitionError: An argument that a marker stands for was not given.
        """
        for parameter, place in self._markers.items():
            if place >= len(args) and parameter not in kwargs:
                raise DefinitionError(
                    f"asset '{self.full_name}' is called directly, where nothing is loaded: pass "
                    f"'{parameter}' yourself"
                )
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<asset {self.full_name}>"

    @property
    def signature(self) -> Signature:
        """What the function wants."""
        return self._read.own

    @property
    def phase_signatures(self) -> Mapping[str, Signature]:
        """What each phase wants."""
        return self._read.phases

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Every upstream value that the function or a phase is given."""
        return self._read.inputs

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """Every resource that the function or a phase is given."""
        return self._read.requirements

    @property
    def context_parameter(self) -> str | None:
        """The function's parameter for the `Context`."""
        return self.signature.context_parameter

    @property
    def config_parameter(self) -> str | None:
        """The function's parameter for the configuration."""
        return self.signature.config_parameter

    @property
    def config_type(self) -> type[Config] | None:
        """The class of the configuration that the function or a phase wants."""
        return next((it.config_type for it in self._read.all if it.config_type), None)

    @property
    def value_type(self) -> object:
        """The type of the value; ``object`` when nothing says it."""
        if self.declared_value_type is not None:
            return self.declared_value_type
        kept = self.__dict__.get("_signatures")
        if isinstance(kept, _Signatures):
            return (kept.phases[self.value_phase] if self.value_phase else kept.own).value_type
        # Not by reading the parameters: one without an annotation asks its producer for its type,
        # and so on along a chain of any length.
        producing = self.phases[self.value_phase].function if self.value_phase else self.function
        return signature.returned_type(producing, self.local_names)

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function; a plain one runs in a thread."""
        return self.signature.is_async

    def find_strategy(self, kind: Callable[..., S]) -> S | None:
        """
        Return the strategy of this kind, also where another stands before it; None is none.

        Args:
            kind: Its class, which may be abstract.
        """
        assert isinstance(kind, type), "typed so that an abstract class will do"
        strategy = self.strategy
        while strategy is not None and not isinstance(strategy, kind):
            strategy = getattr(strategy, "inner", None)
        return cast("S | None", strategy)

    @property
    def _markers(self) -> Mapping[str, int]:
        return signature.default_markers(self.function)

    @property
    def _read(self) -> "_Signatures":
        """
        The signatures, read when they are first needed.

        Only then, because an annotation may name what is defined further down; and again while
        something is wrong with them.
        """
        kept = self.__dict__.get("_signatures")
        if isinstance(kept, _Signatures):
            return kept
        read = _Signatures(
            own=signature.read(
                self.function,
                pipeline=self.pipeline,
                supplied=self.supplied,
                takes_arguments=self.takes_arguments,
                local_names=self.local_names,
            ),
            phases=MappingProxyType(
                {
                    name: signature.read(
                        phase.function,
                        pipeline=self.pipeline,
                        phase=name,
                        supplied=phase.supplied,
                        local_names=self.local_names,
                    )
                    for name, phase in self.phases.items()
                }
            ),
        )
        if not any(it.objections for it in read.all):
            object.__setattr__(self, "_signatures", read)
            object.__setattr__(self, "local_names", None)
        return read


class _Signatures:
    """The signatures of an asset's functions, and what they want together."""

    def __init__(self, own: Signature, phases: Mapping[str, Signature]) -> None:
        self.own = own
        self.phases = phases
        self.all = (own, *phases.values())
        self.inputs = tuple(wanted for it in self.all for wanted in it.inputs)
        self.requirements = tuple(wanted for it in self.all for wanted in it.requirements)


AssetRef: TypeAlias = "Asset[..., object] | str"
"""An asset, or its name: in full, or without the pipeline where that is clear."""
