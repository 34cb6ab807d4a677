import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.dag import Dag, EdgeKind, cycles, edges_of
from flowstone.core.dependency import Dep
from flowstone.core.errors import DependencyCycleError, UnknownAssetError
from flowstone.core.pipeline import Pipeline

MANY = 20_000


def graph(**upstream: str) -> dict[str, dict[str, EdgeKind]]:
    """Return edges from words: ``c="a b"`` is c depending on a and b."""
    return {
        name: dict.fromkeys(others.split(), EdgeKind.REQUIRED) for name, others in upstream.items()
    }


class TestOrder:
    @pytest.mark.conformance(50)
    def test_an_upstream_comes_first(self) -> None:
        events = Pipeline("events")

        @events.asset
        def clean_events(raw: list[str] = Dep("raw_events", type=list[str])) -> list[str]:
            return raw

        @events.asset
        def raw_events() -> list[str]:
            return []

        dag = Dag.of(events.assets)

        assert dag.order == ("events.raw_events", "events.clean_events")

    def test_a_diamond_has_each_asset_once(self) -> None:
        dag = Dag(graph(top="", left="top", right="top", bottom="left right"))

        assert dag.order == ("top", "left", "right", "bottom")

    def test_what_does_not_depend_keeps_the_order_of_definition(self) -> None:
        assert Dag(graph(z="", a="", m="")).order == ("z", "a", "m")

    @given(st.integers(0, 2**32), st.integers(1, 40))
    def test_every_asset_comes_once_and_after_its_upstreams(self, seed: int, size: int) -> None:
        choose = random.Random(seed)
        ranks = choose.sample(range(size), size)
        edges = {
            f"a{mine}": {
                f"a{other}": EdgeKind.REQUIRED
                for other in range(size)
                if ranks[other] < ranks[mine] and choose.random() < 0.2
            }
            for mine in range(size)
        }

        order = Dag(edges).order

        place = {name: number for number, name in enumerate(order)}
        assert sorted(place) == sorted(edges)
        assert all(place[up] < place[down] for down, ups in edges.items() for up in ups)

    def test_twenty_thousand_in_a_row_are_ordered(self) -> None:
        edges = {f"a{n}": {f"a{n + 1}": EdgeKind.REQUIRED} for n in range(MANY)}
        edges[f"a{MANY}"] = {}

        dag = Dag(edges)

        assert dag.order[0] == f"a{MANY}"
        assert len(dag.ancestors(["a0"])) == MANY


class TestCircles:
    @pytest.mark.conformance(51)
    def test_a_circle_is_refused_with_its_path(self) -> None:
        with pytest.raises(DependencyCycleError) as caught:
            Dag(graph(a="b", b="a"))

        assert caught.value.cycle == ("a", "b", "a")

    def test_an_asset_that_needs_itself_is_one(self) -> None:
        assert cycles(graph(a="a", b="a")) == [("a", "a")]

    def test_each_group_is_told_once_by_its_shortest_circle(self) -> None:
        edges = graph(a="b c", b="c", c="a", x="y", y="x", alone="a")

        assert cycles(edges) == [("a", "c", "a"), ("x", "y", "x")]

    def test_each_depends_on_the_next(self) -> None:
        edges = graph(a="b", b="c", c="a")

        (circle,) = cycles(edges)

        assert circle == ("a", "b", "c", "a")

    def test_twenty_thousand_in_a_circle_are_found(self) -> None:
        edges = {f"a{n}": {f"a{(n + 1) % MANY}": EdgeKind.REQUIRED} for n in range(MANY)}

        (circle,) = cycles(edges)

        assert len(circle) == MANY + 1


class TestEdges:
    def test_an_edge_to_nowhere_is_refused(self) -> None:
        with pytest.raises(UnknownAssetError):
            Dag(graph(a="b"))

    def test_kinds_are_kept_in_both_directions(self) -> None:
        dag = Dag({"a": {}, "b": {"a": EdgeKind.OPTIONAL}, "c": {"a": EdgeKind.ORDER}})

        assert dag.upstream["b"] == {"a": EdgeKind.OPTIONAL}
        assert dag.downstream["a"] == {"b": EdgeKind.OPTIONAL, "c": EdgeKind.ORDER}

    def test_of_several_edges_the_strongest_counts(self) -> None:
        shop = Pipeline("shop")

        @shop.asset
        def prices() -> list[int]:
            return []

        @shop.asset(after=[prices])
        def soft(maybe: list[int] | None = Dep(prices, optional=True)) -> None: ...

        @shop.asset(after=[prices])
        def hard(
            maybe: list[int] | None = Dep(prices, optional=True), sure: list[int] = Dep(prices)
        ) -> None: ...

        assert edges_of(soft) == {"shop.prices": EdgeKind.OPTIONAL}
        assert edges_of(hard) == {"shop.prices": EdgeKind.REQUIRED}

    def test_ancestors_and_descendants_are_in_order_and_without_the_targets(self) -> None:
        dag = Dag(graph(a="", b="a", c="b", d="c", other=""))

        assert dag.ancestors(["c", "b"]) == ("a",)
        assert dag.ancestors(["d"]) == ("a", "b", "c")
        assert dag.descendants(["b"]) == ("c", "d")

    def test_relatives_of_what_is_not_there_are_refused(self) -> None:
        with pytest.raises(UnknownAssetError):
            Dag(graph(a="")).ancestors(["b"])
