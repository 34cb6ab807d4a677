"""
The graph of assets: what comes before what.

Linear in assets and edges, and without recursion, so that twenty thousand assets are no matter.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType

from flowstone.core.asset import Asset
from flowstone.core.errors import DependencyCycleError, UnknownAssetError
from flowstone.core.parameters import Input


class EdgeKind(StrEnum):
    """What a downstream asset wants of an upstream one."""

    REQUIRED = "required"
    """Its value; without one, the downstream asset does not run."""
    OPTIONAL = "optional"
    """Its value, or None."""
    ORDER = "order"
    """That it comes first; nothing is loaded."""
    AWAITED = "awaited"
    """Its value, for which it waits itself once it has begun."""
    AWAITED_OPTIONAL = "awaited_optional"
    """The same, with or without a value."""

    @property
    def is_awaited(self) -> bool:
        """Whether the downstream asset begins first."""
        return self in (EdgeKind.AWAITED, EdgeKind.AWAITED_OPTIONAL)


_STRONGEST_FIRST = (
    EdgeKind.REQUIRED,
    EdgeKind.AWAITED,
    EdgeKind.AWAITED_OPTIONAL,
    EdgeKind.OPTIONAL,
    EdgeKind.ORDER,
)

Edges = Mapping[str, Mapping[str, EdgeKind]]
"""Name → names at the other end of its edges → kind."""


class Dag:
    """
    Assets by full name and the edges between them.

    Attributes:
        nodes: The names in the order in which the assets were defined.
        upstream: What each depends on, in the order of its parameters.
        downstream: What depends on each, in the order of definition.
        order: Every name once, upstreams first; otherwise in the order of definition.

    Raises:
        UnknownAssetError: An edge begins at an asset that is not among the nodes.
        DependencyCycleError: There is a circle.
    """

    def __init__(self, upstream: Edges) -> None:
        self.nodes = tuple(upstream)
        self.upstream: Edges = MappingProxyType(upstream)
        downstream: dict[str, dict[str, EdgeKind]] = {name: {} for name in upstream}
        for name, edges in upstream.items():
            for other, kind in edges.items():
                if other not in downstream:
                    raise UnknownAssetError(other, self.nodes)
                downstream[other][name] = kind
        self.downstream: Edges = MappingProxyType(downstream)
        self.order = tuple(_ordered(self.upstream))
        if len(self.order) < len(self.nodes):
            raise DependencyCycleError(cycles(upstream)[0])
        self._place = {name: place for place, name in enumerate(self.order)}

    @classmethod
    def of(cls, assets: Iterable[Asset[..., object]]) -> "Dag":
        """Return the graph of the assets."""
        return cls({asset.full_name: edges_of(asset) for asset in assets})

    def ancestors(self, targets: Iterable[str]) -> tuple[str, ...]:
        """Return everything that the targets depend on, however far, in order; without them."""
        return self._reached(targets, self.upstream)

    def descendants(self, targets: Iterable[str]) -> tuple[str, ...]:
        """Return everything that depends on the targets, however far, in order; without them."""
        return self._reached(targets, self.downstream)

    def _reached(self, targets: Iterable[str], edges: Edges) -> tuple[str, ...]:
        start = set(targets)
        for unknown in start - self._place.keys():
            raise UnknownAssetError(unknown, self.nodes)
        reached = set(start)
        waiting = list(start)
        while waiting:
            fresh = edges[waiting.pop()].keys() - reached
            reached |= fresh
            waiting += fresh
        return tuple(sorted(reached - start, key=self._place.__getitem__))


def edges_of(asset: Asset[..., object]) -> dict[str, EdgeKind]:
    """Return the asset's upstreams; of several edges between the same two, the strongest."""
    edges: dict[str, EdgeKind] = {}
    for wanted in asset.inputs:
        kinds = (_kind(wanted), edges.get(wanted.upstream, EdgeKind.ORDER))
        edges[wanted.upstream] = min(kinds, key=_STRONGEST_FIRST.index)
    for name in asset.after:
        edges.setdefault(name, EdgeKind.ORDER)
    return edges


def awaited_circles(asset: Asset[..., object]) -> list[tuple[str, ...]]:
    """Return a circle for each upstream that the asset needs before it begins and awaits then."""
    awaited = {it.upstream for it in asset.inputs if it.awaited}
    before = {it.upstream for it in asset.inputs if not it.awaited}.union(asset.after)
    return [(asset.full_name, name, asset.full_name) for name in sorted(awaited & before)]


def _kind(wanted: Input) -> EdgeKind:
    if wanted.awaited:
        return EdgeKind.AWAITED_OPTIONAL if wanted.optional else EdgeKind.AWAITED
    return EdgeKind.OPTIONAL if wanted.optional else EdgeKind.REQUIRED


def _ordered(upstream: Edges) -> Iterator[str]:
    """Yield names with their upstreams first; what is in a circle, or after one, is left out."""
    done: set[str] = set()
    entered: set[str] = set()
    for root in upstream:
        if root in entered:
            continue
        entered.add(root)
        path = [(root, iter(upstream[root]))]
        while path:
            name, others = path[-1]
            other = next((it for it in others if it not in done), None)
            if other is None:
                path.pop()
                if all(it in done for it in upstream[name]):
                    done.add(name)
                    yield name
            elif other not in entered:
                entered.add(other)
                path.append((other, iter(upstream[other])))


def cycles(upstream: Edges) -> list[tuple[str, ...]]:
    """
    Return one circle of each group of assets that depend on each other.

    A circle begins and ends with the same name, each depending on the next; it is the shortest
    through the member that was defined first. Edges to names that are not there are passed over.

    Source: R. Tarjan, Depth-first search and linear graph algorithms (1972).
    """
    place = {name: number for number, name in enumerate(upstream)}
    circles = []
    for group in _groups(upstream):
        first = min(group, key=place.__getitem__)
        if len(group) > 1 or first in upstream[first]:
            circles.append(_circle(first, group, upstream))
    return sorted(circles, key=lambda circle: place[circle[0]])


def _circle(first: str, members: set[str], upstream: Edges) -> tuple[str, ...]:
    came_from: dict[str, str] = {}
    waiting = deque([first])
    while first not in came_from:
        name = waiting.popleft()
        for other in upstream[name]:
            if other in members and other not in came_from:
                came_from[other] = name
                waiting.append(other)
    circle = [first, came_from[first]]
    while circle[-1] != first:
        circle.append(came_from[circle[-1]])
    return tuple(reversed(circle))


def _groups(upstream: Edges) -> Iterator[set[str]]:
    """Yield the strongly connected components."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: dict[str, None] = {}
    for root in upstream:
        if root in number:
            continue
        path = [(root, iter(upstream[root]))]
        number[root] = lowest[root] = len(number)
        stack[root] = None
        while path:
            name, others = path[-1]
            other = next(others, None)
            if other is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[name])
                if lowest[name] == number[name]:
                    yield _popped(stack, name)
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
            elif other not in number and other in upstream:
                number[other] = lowest[other] = len(number)
                stack[other] = None
                path.append((other, iter(upstream[other])))


def _popped(stack: dict[str, None], last: str) -> set[str]:
    group: set[str] = set()
    while last not in group:
        group.add(stack.popitem()[0])
    return group
