"""A pipeline with a router, its branches and what brings them together again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowstone import Dep, Pipeline
from flowstone.plugins.routing import FirstOf, choice, route, routed_from


@dataclass
class Regions:
    """
    What is looked for, and what was called; a test changes the one and reads the other.

    ``query`` is what the router looks at: ``mgrs``, ``name``, or anything else.
    """

    query: str = "mgrs"
    called: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def note(self, name: str) -> None:
        self.called.append(name)


def regions(
    world: Regions,
    *,
    default: str | None = "name",
    on_error: str = "fail",
    retry: Any = None,
    is_mgrs: Callable[[str], Any] | None = None,
) -> Pipeline:
    """Return ``query → kind → by_mgrs | by_name → region``."""
    sales = Pipeline("sales")

    @sales.asset
    async def query() -> str:
        world.note("query")
        return world.query

    def looks_like_mgrs(query: str) -> Any:
        world.note("is_mgrs")
        if world.failures:
            raise world.failures.pop(0)
        return query == "mgrs" if is_mgrs is None else is_mgrs(query)

    def is_name(query: str) -> bool:
        world.note("is_name")
        return query == "name"

    @sales.asset(retry=retry)
    @route(
        choice("mgrs", when=looks_like_mgrs),
        choice("name", when=is_name),
        default=default,
        on_error=on_error,
    )
    async def kind(query: str = Dep(query)) -> str:
        world.note("kind")
        return query

    @sales.asset
    @routed_from(kind, "mgrs")
    async def by_mgrs(query: str = Dep(query)) -> str:
        world.note("by_mgrs")
        return f"square of {query}"

    @sales.asset
    @routed_from(kind, "name")
    def by_name(query: str = Dep(query)) -> str:
        world.note("by_name")
        return f"place of {query}"

    @sales.asset
    async def region(found: str = FirstOf(by_mgrs, by_name)) -> str:
        world.note("region")
        return found

    return sales
