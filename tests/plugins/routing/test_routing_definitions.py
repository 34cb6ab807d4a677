"""What is wrong with routers and branches is said when the application is built, all of it."""

from enum import StrEnum
from typing import Any, Literal

import pytest

from flowstone import Dep, FlowStone, Pipeline
from flowstone.core.definitions import check
from flowstone.core.errors import DefinitionError
from flowstone.plugins.routing import FirstOf, choice, route, routed_from
from flowstone.plugins.routing.router import Router


def told(pipeline: Pipeline) -> list[str]:
    """Return what is wrong, without the places."""
    return [str(it).removeprefix(it.where or "").lstrip() for it in check([pipeline])]


def is_true(looked_at: object) -> bool:
    return bool(looked_at)


@pytest.fixture
def p() -> Pipeline:
    return Pipeline("p")


def branch(p: Pipeline, router: Any, label: str, name: str) -> Any:
    def made() -> str:
        return name

    return p.asset(name=name)(routed_from(router, label)(made))


class TestALabel:
    @pytest.mark.conformance(40, 48)
    def test_has_to_have_a_branch_and_the_line_to_add_is_shown(self, p: Pipeline) -> None:
        @p.asset
        @route(choice("mgrs", when=is_true), choice("grid", when=is_true), default="name")
        def kind() -> int:
            return 1

        branch(p, kind, "grid", "by_grid")

        assert told(p) == [
            f"asset 'p.kind': branch \"{label}\" has no asset. Add, above its function\n"
            f'      @routed_from(kind, "{label}")'
            for label in ("mgrs", "name")
        ]

    def test_may_have_several_assets(self, p: Pipeline) -> None:
        @p.asset
        @route
        def kind() -> Literal["a"] | None:
            return None

        branch(p, kind, "a", "one")
        branch(p, kind, "a", "two")

        assert told(p) == []

    def test_that_the_router_does_not_have_is_refused_with_what_was_meant(
        self, p: Pipeline
    ) -> None:
        @p.asset
        @route(choice("mgrs", when=is_true), default="name")
        def kind() -> int:
            return 1

        branch(p, kind, "mgrs", "by_mgrs")
        branch(p, kind, "name", "by_name")
        branch(p, "kind", "mrgs", "by_typo")

        (problem,) = told(p)
        assert problem == (
            "asset 'p.by_typo': router 'p.kind' has no branch 'mrgs'. Did you mean 'mgrs'? "
            "It has: mgrs, name"
        )

    def test_of_the_fallback_is_one_of_the_routers(self, p: Pipeline) -> None:
        @p.asset
        @route(choice("mgrs", when=is_true), on_error="mgsr")
        def kind() -> int:
            return 1

        branch(p, kind, "mgrs", "by_mgrs")

        (problem,) = told(p)
        assert "on_error='mgsr' is no branch of the router. Did you mean 'mgrs'?" in problem

    def test_cannot_be_what_on_error_means(self, p: Pipeline) -> None:
        @p.asset
        @route(choice("fail", when=is_true))
        def kind() -> int:
            return 1

        branch(p, kind, "fail", "a")

        (problem,) = told(p)
        assert "a branch cannot be called 'fail'" in problem


class TestFunctionForm:
    def test_takes_its_branches_from_the_annotation(self, p: Pipeline) -> None:
        class Kind(StrEnum):
            MGRS = "mgrs"
            NAME = "name"

        @p.asset
        @route(on_error="b")
        def literal() -> Literal["a"] | Literal["b", "c"] | None:
            return None

        @p.asset
        @route
        def enum() -> Kind:
            return Kind.NAME

        found = {
            it.name: router.branches(it)
            for it in p.assets
            if (router := it.find_strategy(Router)) is not None
        }
        assert found == {"literal": ("a", "b", "c"), "enum": ("mgrs", "name")}

    @pytest.mark.parametrize("annotation", [str, None, "missing"])
    def test_without_branches_is_refused_with_the_line_to_write(
        self, p: Pipeline, annotation: Any
    ) -> None:
        def kind():  # type: ignore[no-untyped-def]
            return "a"

        if annotation != "missing":
            kind.__annotations__["return"] = annotation
        p.asset(route(kind))

        (problem,) = told(p)
        assert "nothing says which branches the router has" in problem
        assert problem.endswith('def kind(...) -> Literal["...", "..."] | None: ...')


class TestAnEdge:
    @pytest.mark.conformance(52)
    def test_leads_from_the_router_to_each_branch(self, p: Pipeline) -> None:
        @p.asset
        @route
        def router() -> Literal["a", "b"]:
            return "a"

        branch(p, router, "a", "branch_a")
        branch(p, "p.router", "b", "branch_b")

        upstream = FlowStone(p).definitions.dag.upstream
        assert set(upstream["p.branch_a"]) == set(upstream["p.branch_b"]) == {"p.router"}

    @pytest.mark.conformance(55)
    def test_from_what_is_no_router_is_refused(self, p: Pipeline) -> None:
        @p.asset
        def plain() -> int:
            return 1

        branch(p, plain, "a", "branch_a")

        (problem,) = told(p)
        assert problem == (
            "asset 'p.branch_a': it is routed from 'p.plain', which is no router. Make it one\n"
            "      @route(choice(...), ...)"
        )
        with pytest.raises(DefinitionError, match="no router"):
            FlowStone(p)

    def test_from_what_is_not_there_is_refused(self, p: Pipeline) -> None:
        branch(p, "knid", "a", "branch_a")

        assert [it.partition(".")[0] for it in told(p)] == ["asset 'p"]
        assert "depends on 'p.knid', which does not exist" in told(p)[0]

    def test_everything_wrong_is_told_at_once(self, p: Pipeline) -> None:
        @p.asset
        @route(choice("a", when=lambda: True), on_error="z")
        def first(nothing: int) -> int:
            return nothing

        branch(p, first, "c", "branch_c")

        problems = "\n".join(told(p))
        for said in (
            "parameter 'nothing' has no source",
            "its choice 1 function is given 1 arguments by its strategy, but has 0 parameters",
            "on_error='z' is no branch",
            'branch "a" has no asset',
            "has no branch 'c'",
        ):
            assert said in problems


class TestAtOnce:
    """What no application has to be built for."""

    def test_predicates_are_functions(self) -> None:
        with pytest.raises(DefinitionError, match=r'choice\("a", when=True\): .*takes a function'):
            choice("a", when=True)  # type: ignore[arg-type]

    def test_branches_have_names(self) -> None:
        with pytest.raises(DefinitionError, match="a branch needs a name"):
            choice("", when=is_true)

    @pytest.mark.parametrize(
        "made",
        [
            lambda: route("a"),  # type: ignore[call-overload]
            lambda: route(choice("a", when=is_true), default=3),  # type: ignore[call-overload]
            lambda: route(choice("a", when=is_true), on_error=None),  # type: ignore[call-overload]
            lambda: routed_from(len, "a"),  # type: ignore[arg-type]
            lambda: routed_from("router", 1),  # type: ignore[arg-type]
        ],
    )
    def test_what_is_given_is_of_the_right_kind(self, made: Any) -> None:
        with pytest.raises(DefinitionError):
            made()

    def test_decorators_are_below_that_of_the_asset(self, p: Pipeline) -> None:
        @p.asset
        def made() -> str:
            return "a"

        for decorate in (route, route(choice("a", when=is_true)), routed_from("p.router", "a")):
            with pytest.raises(DefinitionError, match="has to be above its other decorators"):
                decorate(made)  # type: ignore[operator]

    def test_a_branch_stays_callable_as_its_function(self, p: Pipeline) -> None:
        @p.asset
        @routed_from("p.router", "a")
        def doubled(number: int) -> int:
            return 2 * number

        assert doubled(2) == 4


class TestFirstOf:
    def test_is_an_optional_edge_to_each(self, p: Pipeline) -> None:
        one, two = branch(p, "r", "a", "one"), branch(p, "r", "b", "two")

        @p.asset
        def either(found: str = FirstOf(one, two)) -> str:
            return found

        @p.asset
        def named(found: str = FirstOf("one", "p.two", type=str)) -> str:
            return found

        for asset in (either, named):
            assert [(it.upstream, it.optional) for it in asset.inputs] == [
                ("p.one", True),
                ("p.two", True),
            ]

    def test_is_decoded_as_the_producers_say_where_the_parameter_does_not(
        self, p: Pipeline
    ) -> None:
        one = branch(p, "r", "a", "one")

        @p.asset
        def number() -> int:
            return 1

        @p.asset
        def either(found=FirstOf(one, number)):  # type: ignore[no-untyped-def]
            return found

        assert [it.annotation for it in either.inputs] == [str | int, str | int]

    def test_wants_two_assets_that_are_not_the_same(self, p: Pipeline) -> None:
        one = branch(p, "r", "a", "one")

        for wrong, message in (
            (lambda: FirstOf(one), "needs two assets or more"),
            (lambda: FirstOf(one, one), "names an asset twice"),
            (lambda: FirstOf(one, "two"), "needs the type"),  # type: ignore[call-overload]
            (lambda: FirstOf(one, len), "is no asset"),  # type: ignore[call-overload]
        ):
            with pytest.raises(DefinitionError, match=message):
                wrong()

    def test_of_another_type_than_the_parameter_is_found_by_check(self, p: Pipeline) -> None:
        one, two = branch(p, "r", "a", "one"), branch(p, "r", "b", "two")

        @p.asset
        def either(found: list[int] = FirstOf(one, two)) -> None: ...  # type: ignore[assignment]

        problems = "\n".join(it.message for it in check([p], types=True))
        assert "FirstOf(one, two) gives str, parameter 'found' wants list[int]." in problems


def test_what_decides_is_part_of_the_version_of_the_code() -> None:
    def version(decorator: Any) -> str:
        def kind() -> int:
            return 1

        return str(Pipeline("p").asset(decorator(kind)).code_version)

    def is_a(number: int) -> bool:
        return number > 1

    def is_b(number: int) -> bool:
        return number > 2

    made = [
        route(choice("a", when=is_a)),
        route(choice("b", when=is_a)),
        route(choice("a", when=is_b)),
        route(choice("a", when=is_a), default="b"),
        route(choice("a", when=is_a), choice("b", when=is_b), default="b"),
        routed_from("router", "a"),
        routed_from("router", "b"),
    ]

    assert len({version(it) for it in made}) == len(made)
    assert version(made[0]) == version(route(choice("a", when=is_a)))


def test_an_edge_between_a_branch_and_its_own_input_is_one() -> None:
    p = Pipeline("p")

    @p.asset
    @route
    def router() -> Literal["a"]:
        return "a"

    @p.asset
    @routed_from(router, "a")
    def made(decision: object = Dep(router)) -> object:
        return decision

    assert list(FlowStone(p).definitions.dag.upstream["p.made"].values()) == ["required"]
