"""One rule of a router: a branch, and the predicate that selects it."""

import functools
import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, Generic, TypeVar, overload

from flowstone.core.annotations import innermost
from flowstone.core.errors import DefinitionError

Q = TypeVar("Q")
Q_contra = TypeVar("Q_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Choice(Generic[Q_contra]):
    """
    A branch and when it is selected; `choice` makes one.

    ``Choice[Query]("mgrs", when=lambda query: ...)`` tells type checkers what a lambda is given.

    Attributes:
        branch: What `routed_from` calls it.
        when: Given what the router's function returned; its further parameters have sources as
            those of an asset's function do.

    Raises:
        DefinitionError: The predicate is no function, or the branch has no name.
    """

    branch: str
    when: Callable[[Q_contra], bool | Awaitable[bool]]

    def __post_init__(self) -> None:
        if not isinstance(self.branch, str) or not self.branch or not self.branch.isprintable():
            raise DefinitionError(f"choice({self.branch!r}): a branch needs a name")
        if not (inspect.isroutine(self.when) or isinstance(self.when, functools.partial)):
            raise DefinitionError(
                f'choice("{self.branch}", when={self.when!r}): when= takes a function, such as '
                "lambda query: query.is_open"
            )

    @property
    def predicate(self) -> str:
        """The predicate's name; of a lambda, where it is written."""
        written = innermost(self.when)
        name = str(getattr(written, "__name__", type(written).__qualname__))
        code = getattr(written, "__code__", None)
        if name != "<lambda>" or code is None:
            return name
        return f"lambda at {os.path.basename(code.co_filename)}:{code.co_firstlineno}"


@overload
def choice(branch: str, *, when: Callable[[Q], bool | Awaitable[bool]]) -> Choice[Q]: ...
@overload
def choice(
    branch: str, *, when: Callable[Concatenate[Q, ...], bool | Awaitable[bool]]
) -> Choice[Q]: ...


def choice(branch: str, *, when: Callable[..., bool | Awaitable[bool]]) -> Choice[Q]:
    """
    Select a branch when the predicate is true; of several choices, the first one that is.

    Args:
        branch: What `routed_from` calls it.
        when: Gets what the router's function returned, and answers True or False; plain or async.

    Raises:
        DefinitionError: It is not a function, or the branch has no name.
    """
    return Choice(branch, when)
