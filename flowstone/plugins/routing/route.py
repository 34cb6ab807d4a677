"""
The decorator of a router.

::

    @sales.asset
    @route(choice("mgrs", when=lambda query: query.is_mgrs), default="name", on_error="fail")
    async def kind(query: Query = Dep(query)) -> Query:
        return query                                    # what the predicates look at

    @sales.asset
    @route                                              # or the function itself says which
    async def kind(query: Query = Dep(query)) -> Literal["mgrs", "name"] | None: ...
"""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from flowstone.core.asset import Definition, Phase
from flowstone.core.errors import DefinitionError
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.plugins.routing.choice import Choice
from flowstone.plugins.routing.decision import Decision
from flowstone.plugins.routing.router import FAIL, Router, phases_of

P = ParamSpec("P")
Q = TypeVar("Q")


class RuledRoute(Protocol, Generic[Q]):
    """What `route` gives with choices: takes a function that returns what they look at."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, Q | Skip | Snooze | Cancel]], /
    ) -> Definition[P, Decision, Coroutine[Any, Any, Q]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Q | Skip | Snooze | Cancel], /
    ) -> Definition[P, Decision, Q]: ...


class NamedRoute(Protocol):
    """What `route` gives without choices: takes a function that returns the branch itself."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, str | Skip | Snooze | Cancel | None]], /
    ) -> Definition[P, Decision, Coroutine[Any, Any, str | None]]: ...
    @overload
    def __call__(
        self, function: Callable[P, str | Skip | Snooze | Cancel | None], /
    ) -> Definition[P, Decision, str | None]: ...


@overload
def route(
    function: Callable[P, Coroutine[Any, Any, str | Skip | Snooze | Cancel | None]], /
) -> Definition[P, Decision, Coroutine[Any, Any, str | None]]: ...
@overload
def route(
    function: Callable[P, str | Skip | Snooze | Cancel | None], /
) -> Definition[P, Decision, str | None]: ...
@overload
def route(*, on_error: str = FAIL) -> NamedRoute: ...
@overload
def route(
    first: Choice[Q],
    /,
    *others: Choice[Q],
    default: str | None = None,
    on_error: str = FAIL,
) -> RuledRoute[Q]: ...


def route(*given: object, default: str | None = None, on_error: str = FAIL) -> object:
    """
    Make the asset below a router: its value is the `Decision` which of its branches run.

    It decides once in a run; whatever tries again later finds the decision. With choices, the
    function returns what the predicates look at; without any, it returns the branch itself, or
    None for no branch, and its return annotation names all of them.

    Args:
        default: The branch when no predicate is true; None is no branch.
        on_error: What follows when the function or a predicate raises, or a predicate's answer is
            neither True nor False: ``"fail"``, or the branch that is selected then. With
            ``retry=`` on the asset that is after its last attempt.

    Raises:
        DefinitionError: What is given is neither choices nor a function.
    """
    if len(given) == 1 and (callable(given[0]) or isinstance(given[0], Definition)):
        return _defined(given[0], Router((), None, FAIL))
    choices: list[Choice[object]] = []
    for it in given:
        if not isinstance(it, Choice):
            raise DefinitionError(f'route({it!r}): rules are choices: choice("...", when=...)')
        choices.append(it)
    if default is not None and (not isinstance(default, str) or not default or not choices):
        raise DefinitionError(
            f"route(default={default!r}): the name of the branch when no choice is taken"
        )
    if not isinstance(on_error, str):
        raise DefinitionError(f'route(on_error={on_error!r}) must be "{FAIL}" or a branch')
    router = Router(choices, default, on_error)

    def decorate(function: object, /) -> Definition[..., Decision]:
        return _defined(function, router)

    return decorate


def _defined(function: object, router: Router) -> Definition[..., Decision]:
    phases = {
        name: Phase(it.when, supplied=1)
        for name, it in zip(phases_of(router.choices), router.choices, strict=True)
    }
    function = cast("Callable[..., object]", function)  # what it is, the draft finds out
    return Definition(function, strategy=router, phases=phases, value_type=Decision)
