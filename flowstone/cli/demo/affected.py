"""What the damage reaches: whatever rests on a distribution that is not as it should be."""

from collections import defaultdict

from flowstone.cli.demo.dependency_graph import resting_on
from flowstone.cli.demo.records import Affected, DependencyGraph, Unsound, Verification


def affected_by(verification: Verification, graph: DependencyGraph) -> Affected:
    """Distributions with changed or missing files or an unmet requirement, and what needs them."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, tally in verification.tallies.items():
        if tally.changed:
            reasons[name].append(f"{tally.changed:,} changed")
        if tally.missing:
            reasons[name].append(f"{tally.missing:,} missing")
    for requirement in graph.unmet:
        found = f"has {requirement.found}" if requirement.found else "is absent"
        reasons[requirement.source].append(f"{requirement.text} {found}")
    resting = resting_on(graph)
    unsound = tuple(
        Unsound(name, tuple(reasons[name]), tuple(sorted(resting.get(name, ()))))
        for name in sorted(reasons)
    )
    reached = {name for each in unsound for name in (each.name, *each.dependents)}
    return Affected(unsound=unsound, reached=len(reached))
