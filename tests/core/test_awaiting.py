"""Which steps are held for which: against the definition, over graphs at random."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.awaiting import hold
from flowstone.core.contracts.store import Key, PlannedStep

REQUIRED, OPTIONAL, AWAITED, AWAITED_OPTIONAL = range(4)
Edges = Mapping[int, Mapping[int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Edges, set[int]]:
    """Return upstream edges by kind, upstreams with lower numbers, and the targets."""
    count = draw(st.integers(1, 9))
    kinds = st.sampled_from([REQUIRED, REQUIRED, OPTIONAL, AWAITED, AWAITED_OPTIONAL])
    edges = {
        number: draw(st.dictionaries(st.integers(0, number - 1), kinds, max_size=3))
        if number
        else {}
        for number in range(count)
    }
    used = {upstream for each in edges.values() for upstream in each}
    targets = set(range(count)) - used
    return edges, targets | draw(st.sets(st.integers(0, count - 1), max_size=1))


def held(edges: Edges, targets: set[int]) -> Sequence[PlannedStep]:
    steps = [PlannedStep(number, Key("p", str(number)), "q", 0, "") for number in edges]
    optional = set()
    for number, upstreams in edges.items():
        for upstream, kind in upstreams.items():
            if kind in (AWAITED, AWAITED_OPTIONAL):
                steps[number].add("awaits", upstream)
                steps[upstream].add("awaited_by", number)
                if kind == AWAITED_OPTIONAL:
                    optional.add((number, upstream))
            else:
                steps[number].unmet += 1
                steps[upstream].add(
                    "optional_dependents" if kind == OPTIONAL else "dependents", number
                )
    hold(steps, {Key("p", str(it)) for it in targets}, optional)
    return steps


def paths(edges: Edges, targets: set[int], step: int) -> list[list[tuple[int, int, int]]]:
    """Return every way from the step to a target, as edges (upstream, kind, downstream)."""
    ways: list[list[tuple[int, int, int]]] = [[]] if step in targets else []
    for number, upstreams in edges.items():
        if step in upstreams:
            edge = (step, upstreams[step], number)
            ways += [[edge, *way] for way in paths(edges, targets, number)]
    return ways


def waiting_on(way: Sequence[tuple[int, int, int]]) -> set[int]:
    return {down for _, kind, down in way if kind in (AWAITED, AWAITED_OPTIONAL)}


class TestHolding:
    @given(graphs())
    def test_nothing_is_held_that_can_be_reached_without_the_one_that_holds_it(
        self, graph: tuple[Edges, set[int]]
    ) -> None:
        edges, targets = graph
        for step in held(edges, targets):
            for started in step.starts:
                assert all(step.id in waiting_on(way) for way in paths(edges, targets, started))

    @given(graphs())
    def test_what_is_one_s_alone_does_not_begin_before_it(
        self, graph: tuple[Edges, set[int]]
    ) -> None:
        edges, targets = graph
        steps = held(edges, targets)
        for step in steps:
            common = set.intersection(
                *(waiting_on(way) for way in paths(edges, targets, step.id) or [[]])
            )
            assert common <= begun_before(steps, step.id)

    @given(graphs())
    def test_all_begin_at_last(self, graph: tuple[Edges, set[int]]) -> None:
        edges, targets = graph
        steps = held(edges, targets)
        unmet = {step.id: step.unmet for step in steps}
        done: set[int] = set()
        while ready := [it for it in steps if unmet[it.id] == 0 and it.id not in done]:
            for step in ready:
                done.add(step.id)
                for other in (*step.starts, *step.dependents, *step.optional_dependents):
                    unmet[other] -= 1
        assert len(done) == len(steps)

    @given(graphs())
    def test_a_failure_is_tolerated_if_every_way_goes_over_an_optional_awaited_edge(
        self, graph: tuple[Edges, set[int]]
    ) -> None:
        edges, targets = graph
        for step in held(edges, targets):
            ways = paths(edges, targets, step.id)
            optional = [any(kind == AWAITED_OPTIONAL for _, kind, _ in way) for way in ways]
            assert step.is_tolerated is (bool(ways) and all(optional))


def begun_before(steps: Sequence[PlannedStep], number: int) -> set[int]:
    """Return what has begun, for certain, when the step becomes ready."""
    before: set[int] = set()
    for step in steps:
        if number in step.starts:
            before |= {step.id} | begun_before(steps, step.id)
        if number in step.dependents:
            before |= begun_before(steps, step.id)
    return before
