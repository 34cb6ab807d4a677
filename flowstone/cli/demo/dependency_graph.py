"""
Which distribution needs which, by their Requires-Dist and the markers of this environment.

A requirement of an extra counts when some distribution asks for that extra (``psycopg[binary]``);
the others are optional. Source: PEP 508, read with ``packaging``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.specifiers import InvalidSpecifier
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from flowstone.cli.demo.records import DependencyGraph, Dependents, Distribution, Requirement

Edges = Mapping[str, Sequence[str]]


def graph_of(distributions: Iterable[Distribution]) -> DependencyGraph:
    """The graph of the distributions that are imported, that is, without the shadowed ones."""
    known: dict[str, Distribution] = {
        canonicalize_name(each.name): each for each in distributions if not each.is_shadowed
    }
    parsed, unparsed = _parse(known)
    extras = _wanted_extras(parsed)
    edges: dict[str, list[str]] = {key: [] for key in known}
    unmet: list[Requirement] = []
    optional_count = 0
    for key, requirements in parsed.items():
        for requirement in requirements:
            if not _applies(requirement, extras[key]):
                optional_count += _is_of_an_extra(requirement)
                continue
            target = canonicalize_name(requirement.name)
            if target in known and target != key:  # "all" of one's own extras is no cycle
                edges[key].append(target)
            if not _is_met(requirement, known.get(target)):
                found = known[target].version if target in known else ""
                unmet.append(Requirement(known[key].name, str(requirement), found))
    named = {
        known[key].name: tuple(known[target].name for target in dict.fromkeys(targets))
        for key, targets in edges.items()
    }
    return DependencyGraph(
        requires=named,
        roots=_roots(named),
        leaves=tuple(name for name, needs in named.items() if not needs),
        cycles=tuple(tuple(sorted(group)) for group in groups(named) if len(group) > 1),
        longest_chain=_longest_chain(named),
        most_required=_most_required(named),
        unmet=tuple(dict.fromkeys(unmet)),
        optional_count=optional_count,
        unparsed=tuple(unparsed),
    )


def resting_on(graph: DependencyGraph) -> dict[str, set[str]]:
    """Of each distribution, all that need it, directly or through others; itself not among them."""
    return _reached(_turned(graph.requires))


def groups(edges: Edges) -> list[list[str]]:
    """
    The strongly connected groups, each after every group that it needs.

    Source: Tarjan (1972), without recursion: a chain of requirements may be long.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(edges[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, needs = work[-1]
            for need in needs:
                if need not in index:
                    index[need] = low[need] = len(index)
                    stack.append(need)
                    on_stack.add(need)
                    work.append((need, iter(edges[need])))
                    break
                if need in on_stack:
                    low[node] = min(low[node], index[need])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = stack[stack.index(node) :]
                    del stack[-len(group) :]
                    on_stack.difference_update(group)
                    found.append(group)
    return found


def _parse(known: Mapping[str, Distribution]) -> tuple[dict[str, list[Parsed]], list[str]]:
    parsed: dict[str, list[Parsed]] = {}
    unparsed: list[str] = []
    for key, distribution in known.items():
        parsed[key] = []
        for text in distribution.requires:
            try:
                requirement = Parsed(text)
                _applies(requirement, {""})
            except (
                InvalidRequirement,
                InvalidVersion,
                InvalidSpecifier,
                UndefinedComparison,
                UndefinedEnvironmentName,
            ):
                unparsed.append(f"{distribution.name}: {text}")
            else:
                parsed[key].append(requirement)
    return parsed, unparsed


def _wanted_extras(parsed: Mapping[str, Sequence[Parsed]]) -> dict[str, set[str]]:
    """The extras of each distribution that some other, itself wanted so, asks for; "" is none."""
    wanted: dict[str, set[str]] = defaultdict(lambda: {""})
    waiting = list(parsed)
    while waiting:
        key = waiting.pop()
        for requirement in parsed[key]:
            target = canonicalize_name(requirement.name)
            if target in parsed and _applies(requirement, wanted[key]):
                extras = {canonicalize_name(extra) for extra in requirement.extras}
                if not extras <= wanted[target]:
                    wanted[target] |= extras
                    waiting.append(target)
    return wanted


def _applies(requirement: Parsed, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def _is_of_an_extra(requirement: Parsed) -> bool:
    return "extra" in str(requirement.marker)


def _is_met(requirement: Parsed, found: Distribution | None) -> bool:
    """A version that is not one at all is not held against anybody."""
    if found is None:
        return False
    try:
        return requirement.specifier.contains(Version(found.version), prereleases=True)
    except InvalidVersion:
        return True


def _turned(edges: Edges) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {name: [] for name in edges}
    for name, needs in edges.items():
        for need in needs:
            turned[need].append(name)
    return turned


def _reached(edges: Edges) -> dict[str, set[str]]:
    """Of each name, all that its edges lead to, itself left out."""
    reached: dict[str, set[str]] = {}
    for group in groups(edges):
        together = set(group)
        for name in group:
            for need in edges[name]:
                together |= reached.get(need, set()) | {need}
        for name in group:
            reached[name] = together
    return {name: names - {name} for name, names in reached.items()}


def _roots(edges: Edges) -> tuple[str, ...]:
    """Needed by nothing outside their own cycle; of a cycle that nobody needs, every member."""
    turned = _turned(edges)
    return tuple(
        name
        for group in groups(edges)
        if not any(by not in group for name in group for by in turned[name])
        for name in sorted(group)
    )


def _longest_chain(edges: Edges) -> tuple[str, ...]:
    """A member of a cycle stands for all of it."""
    chains: dict[str, tuple[str, ...]] = {}
    for group in groups(edges):
        below: tuple[str, ...] = ()
        for name in group:
            for need in edges[name]:
                if need not in group:
                    below = max(below, chains[need], key=len)
        for name in group:
            chains[name] = (name, *below)
    return max(chains.values(), key=len, default=())


def _most_required(edges: Edges) -> tuple[Dependents, ...]:
    turned = _turned(edges)
    reached = _reached(turned)
    ranked = [Dependents(name, len(turned[name]), len(reached[name])) for name in edges]
    ranked.sort(key=lambda each: (-each.total, -each.direct, each.name))
    return tuple(each for each in ranked if each.total)
