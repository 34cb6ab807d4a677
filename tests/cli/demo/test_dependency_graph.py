from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.cli.demo.dependency_graph import graph_of, groups, resting_on
from flowstone.cli.demo.records import DependencyGraph, Dependents, Distribution, Requirement
from tests.cli.demo.made_environment import MadeEnvironment


def distribution(name: str, requires: Sequence[str], version: str = "1.0") -> Distribution:
    return Distribution(
        name=name,
        version=version,
        summary="",
        license_expression="",
        license_text="",
        license_classifiers=(),
        license_file="",
        requires=tuple(requires),
        installer="",
        origin="",
        site="",
        info="",
        is_recorded=True,
        is_shadowed=False,
        top_level=(),
        problem="",
    )


def graph(**requires: Sequence[str]) -> DependencyGraph:
    return graph_of(distribution(name, needs) for name, needs in requires.items())


class TestRequirements:
    def test_are_edges_between_what_is_installed(self) -> None:
        found = graph(app=["web>=1", "Data_Base"], web=["text"], **{"data.base": ["text"]}, text=[])

        assert found.requires == {
            "app": ("web", "data.base"),
            "web": ("text",),
            "data.base": ("text",),
            "text": (),
        }
        assert (found.roots, found.leaves) == (("app",), ("text",))
        assert found.most_required[0] == Dependents("text", direct=2, total=3)
        assert found.unmet == ()

    def test_of_another_environment_do_not_count(self) -> None:
        found = graph(app=["never; python_version < '3'", "always; python_version >= '3'"])

        assert [each.text for each in found.unmet] == ['always; python_version >= "3"']

    def test_that_are_absent_or_of_another_version_are_unmet(self) -> None:
        found = graph(app=["absent", "old>=2", "fine>=1"], old=[], fine=[])

        assert found.unmet == (
            Requirement("app", "absent", ""),
            Requirement("app", "old>=2", "1.0"),
        )

    def test_take_a_pre_release_that_is_installed(self) -> None:
        found = graph_of([distribution("app", ["thing>=1"]), distribution("thing", [], "2.0rc1")])

        assert found.unmet == ()

    def test_are_not_held_against_a_version_that_is_none(self) -> None:
        found = graph_of(
            [distribution("app", ["thing>=1"]), distribution("thing", [], "2.0-custom-thing!")]
        )

        assert found.unmet == ()

    def test_of_an_extra_count_when_somebody_asks_for_it(self) -> None:
        found = graph(
            app=["driver[Fast_Path]"],
            driver=["speed; extra == 'fast-path'", "pool; extra == 'pool'"],
            speed=[],
        )

        assert found.requires["driver"] == ("speed",)
        assert found.optional_count == 1
        assert found.unmet == ()

    def test_of_an_extra_are_followed_through_extras(self) -> None:
        found = graph(
            app=["driver[all]"],
            driver=["driver[fast]; extra == 'all'", "speed; extra == 'fast'"],
            speed=[],
        )

        assert found.requires["driver"] == ("speed",)
        assert found.cycles == ()

    def test_that_are_not_valid_are_told(self) -> None:
        found = graph(app=["what is >> this", "fine; no_such_marker == '1'", "fine"], fine=[])

        assert found.requires["app"] == ("fine",)
        assert found.unparsed == ("app: what is >> this", "app: fine; no_such_marker == '1'")

    def test_of_a_shadowed_distribution_do_not_count(self, made: MadeEnvironment) -> None:
        made.install("twice", "1.0", requires=["first"])
        made.install("twice", "2.0", requires=["second"])

        assert [each.text for each in graph_of(made.distributions()).unmet] == ["first"]


class TestTheShape:
    def test_of_a_cycle_is_told(self) -> None:
        found = graph(app=["chicken"], chicken=["egg"], egg=["chicken", "shell"], shell=[])

        assert found.cycles == (("chicken", "egg"),)
        assert found.roots == ("app",)
        assert found.longest_chain == ("app", "chicken", "shell")

    def test_of_a_cycle_that_nobody_needs_has_its_members_as_roots(self) -> None:
        assert graph(chicken=["egg"], egg=["chicken"]).roots == ("chicken", "egg")

    def test_tells_all_that_rests_on_one(self) -> None:
        found = graph(app=["chicken"], chicken=["egg"], egg=["chicken", "shell"], shell=[])

        assert resting_on(found) == {
            "app": set(),
            "chicken": {"app", "egg"},
            "egg": {"app", "chicken"},
            "shell": {"app", "chicken", "egg"},
        }

    def test_of_a_chain_may_be_longer_than_any_stack(self) -> None:
        names = [f"d{number}" for number in range(3_000)]
        chain = {name: [need] for name, need in pairwise(names)}

        groups({**chain, names[-1]: []})
        assert len(groups({**chain, names[-1]: [names[0]]})) == 1

    def test_of_nothing_is_empty(self) -> None:
        assert graph() == DependencyGraph({}, (), (), (), (), (), (), 0, ())


EDGES = st.integers(1, 9).flatmap(
    lambda size: st.fixed_dictionaries(
        {str(node): st.lists(st.integers(0, size - 1).map(str), max_size=4) for node in range(size)}
    )
)


def reached_from(edges: Mapping[str, Sequence[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for need in edges[waiting.pop()]:
            if need not in reached:
                reached.add(need)
                waiting.append(need)
    return reached


@given(EDGES)
def test_groups_are_those_that_reach_one_another_in_order_of_need(
    edges: dict[str, list[str]],
) -> None:
    reached = {node: reached_from(edges, node) | {node} for node in edges}

    found = groups(edges)

    assert sorted(node for group in found for node in group) == sorted(edges)
    for at, group in enumerate(found):
        assert all(set(group) == {o for o in reached[n] if n in reached[o]} for n in group)
        later = {node for other in found[at + 1 :] for node in other}
        assert not any(later & set(edges[node]) for node in group)


@given(EDGES)
def test_what_rests_on_one_is_what_reaches_it(edges: dict[str, list[str]]) -> None:
    shape = DependencyGraph(
        {node: tuple(needs) for node, needs in edges.items()}, (), (), (), (), (), (), 0, ()
    )

    assert resting_on(shape) == {
        node: {other for other in edges if other != node and node in reached_from(edges, other)}
        for node in edges
    }


@pytest.mark.parametrize("text", ["", "[", "a" * 10_000, "a[b", "a @", "\x00"])
def test_no_requirement_breaks_the_graph(text: str) -> None:
    assert graph(app=[text]).requires == {"app": ()}
