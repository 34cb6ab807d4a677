"""
A branch of a router: an asset that runs only where the router has selected it.

``@routed_from`` stands above whatever else computes the asset: a plain function, or another
plugin's decorator, which is begun only when the branch was selected.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar, cast, overload

from flowstone.core.asset import Asset, Definition, Phase
from flowstone.core.contracts.strategy import Execution, ForContracts, Strategy
from flowstone.core.defaults.function_strategy import FunctionStrategy
from flowstone.core.dependency import Dep
from flowstone.core.errors import DefinitionError, Problem
from flowstone.core.outcome import Outcome, Skipped, Wake
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.signature import full_name
from flowstone.core.suggestion import suggest
from flowstone.plugins.routing.branching import Branching
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.decision import Decision

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_FUNCTION = FunctionStrategy()


class Routed(Strategy):
    """
    Goes on with what stands below it if the branch was selected, and skips the asset otherwise.

    Args:
        router: The router's name, in full or within the asset's pipeline.
        inner: What computes the asset; None is its function.
    """

    plugin: ClassVar[str | None] = "routing"

    def __init__(self, router: str, branch: str, inner: Strategy | None) -> None:
        self.router = router
        self.branch = branch
        self._inner = inner

    @property
    def inner(self) -> Strategy | None:
        return self._inner

    @property
    def phase(self) -> str:
        """What the asset calls the function that is given the decision."""
        return f"decision of {self.router}"

    @property
    def fingerprint(self) -> str:
        inner = self._inner.fingerprint if self._inner else ""
        return f"{self.branch}\0{inner}"

    def labels(self, asset: Asset[..., object]) -> Mapping[str, str]:
        return {full_name(self.router, asset.pipeline): self.branch}

    def decided_by(self, asset: Asset[..., object]) -> str:
        return full_name(self.router, asset.pipeline)

    async def foresee(
        self, decided_by: Sequence[int], coordinators: ForContracts
    ) -> Mapping[int, str]:
        decisions = await coordinators.get(RoutingCoordinator).outputs(decided_by)
        return {
            it.decision_id: _not_selected(it)
            for it in decisions
            if it.selected_branch != self.branch
        }

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterator[Problem]:
        name = full_name(self.router, asset.pipeline)
        upstream = assets.get(name)
        if upstream is None:
            return  # told as an edge that leads nowhere
        where = {"where": str(asset.source), "asset": asset.full_name}
        router = upstream.find_strategy(Branching)
        if router is None:
            message = f"it is routed from '{name}', which is no router. Make it one"
            yield Problem(message, fix="@route(choice(...), ...)", **where)
            return
        branches = router.branches(upstream)
        if branches and self.branch not in branches:
            meant = suggest(self.branch, branches)
            question = f" Did you mean '{meant}'?" if meant else ""
            message = f"router '{name}' has no branch '{self.branch}'.{question} It has"
            yield Problem(f"{message}: {', '.join(branches)}", **where)

    async def start(self, execution: Execution) -> Outcome:
        decision = await execution.call_phase(self.phase)
        assert isinstance(decision, Decision), "what a router stores"
        if decision.selected_branch != self.branch:
            return Skipped(_not_selected(decision))
        return await (self._inner or _FUNCTION).start(execution)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return await (self._inner or _FUNCTION).resume(execution, wake)


class RoutedFrom(Protocol):
    """What `routed_from` gives; typed like ``pipeline.asset`` itself."""

    @overload
    def __call__(self, function: Definition[P, T, R], /) -> Definition[P, T, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Definition[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[T | Skip | Snooze | Cancel]], /
    ) -> Definition[P, T, Awaitable[T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, T | Skip | Snooze | Cancel], /
    ) -> Definition[P, T, T]: ...


def routed_from(router: Asset[..., Decision] | str, branch: str) -> RoutedFrom:
    """
    Run the asset below only where the router has selected the branch; skip it otherwise.

    Several assets may be of one branch. What needs a value of a skipped one is skipped too, so it
    is enough to mark where the branch begins.

    Args:
        router: The router, or its name: in full, or alone within the same pipeline.

    Raises:
        DefinitionError: It is neither, or the branch is no text.
    """
    given: object = router
    if not isinstance(given, Asset | str):
        shown = getattr(router, "__name__", repr(router))
        raise DefinitionError(
            f"routed_from({shown}): '{shown}' is no asset; is @pipeline.asset missing?"
        )
    if not isinstance(branch, str) or not branch:
        raise DefinitionError(f"routed_from(..., {branch!r}): name the branch")

    def decorate(function: object, /) -> object:
        inner, below = _taken_apart(function)
        assert inner is None or isinstance(inner, Strategy), "what decorators of plugins leave"
        routed = Routed(router if isinstance(router, str) else router.full_name, branch, inner)
        phases = {routed.phase: _decision_of(router)}
        return Definition(below, strategy=routed, phases=phases)

    return cast("RoutedFrom", decorate)


def routed_branches(router: str, dependents: Iterable[Asset[..., object]]) -> Iterator[str]:
    """Give the branches of a router that assets have, of those that depend on it."""
    for asset in dependents:
        strategy = asset.strategy
        while isinstance(strategy, Strategy):
            if (
                isinstance(strategy, Routed)
                and full_name(strategy.router, asset.pipeline) == router
            ):
                yield strategy.branch
            strategy = strategy.inner


# Any: what is below is typed by its decorator, and stays as it is.
def _taken_apart(given: Any) -> tuple[object, Any]:
    """Return what computes the asset below, and its definition without that."""
    if not isinstance(given, Definition):
        return None, given
    if given.strategy is not None:
        return given.strategy, replace(given, strategy=None)
    strategy, function = _taken_apart(given.function)
    return strategy, replace(given, function=function)


def _not_selected(decision: Decision) -> str:
    return f"not selected: {decision.router} selected {decision}"


def _decision_of(router: Asset[..., Decision] | str) -> Phase:
    marker: Decision = Dep(router, type=Decision) if isinstance(router, str) else Dep(router)

    async def decision(decision: Decision = marker) -> Decision:
        return decision

    return Phase(decision)
