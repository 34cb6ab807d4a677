"""
Which steps of a run are held until another one has begun, and whose failure it does not mind.

An asset that waits for its upstreams itself begins first. What only such upstreams need would be of
no use without it, so it is held; what somebody else needs too is not. Whose step a step is is the
immediate dominator among those that wait, in the graph from the targets up; the steps come in an
order in which one pass finds it.

Source: K. Cooper, T. Harvey and K. Kennedy, A Simple, Fast Dominance Algorithm (2001).
"""

from collections.abc import Collection, Sequence

from flowstone.core.contracts.store_records import Key, PlannedStep


def hold(
    steps: Sequence[PlannedStep],
    targets: Collection[Key],
    optional: Collection[tuple[int, int]],
) -> None:
    """
    Let the steps that wait start what is theirs alone, and mark what may fail.

    Args:
        steps: Upstreams first.
        targets: What was asked for; it is nobody's alone.
        optional: Which awaited edges are, as (step, upstream).
    """
    owners: dict[int, int | None] = {}
    tolerated: set[int] = set()
    begun_by: set[int] = set()
    for step in reversed(steps):
        needed_by = [*step.dependents, *step.optional_dependents]
        step.is_tolerated = (
            bool(needed_by or step.awaited_by)
            and step.key not in targets
            and tolerated.issuperset(needed_by)
            and all(it in tolerated or (it, step.id) in optional for it in step.awaited_by)
        )
        if step.is_tolerated:
            tolerated.add(step.id)
        candidates = [*(owners[it] for it in needed_by), *step.awaited_by]
        if step.key in targets or not candidates:
            owners[step.id] = None
        else:
            owners[step.id] = _nearest(candidates, owners)
        begun_by.update(it for it in step.dependents if _is_same(owners, it, step.id))
    by_id = {step.id: step for step in steps}
    for step in steps:
        owner = owners[step.id]
        if owner is not None and step.id not in begun_by:
            by_id[owner].add("starts", step.id)
            step.unmet += 1


def _nearest(candidates: Sequence[int | None], owners: dict[int, int | None]) -> int | None:
    """Return the innermost of those that all candidates are, or belong to."""
    common = _line(candidates[0], owners)
    for candidate in candidates[1:]:
        line = set(_line(candidate, owners))
        common = [it for it in common if it in line]
    return common[0] if common else None


def _line(step: int | None, owners: dict[int, int | None]) -> list[int]:
    """Return the step, whose it is, whose that is, and so on."""
    line = []
    while step is not None:
        line.append(step)
        step = owners[step]
    return line


def _is_same(owners: dict[int, int | None], one: int, other: int) -> bool:
    return owners[one] is not None and owners[one] == owners[other]
