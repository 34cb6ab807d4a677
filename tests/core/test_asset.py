import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pytest

from flowstone.core.asset import Asset, Definition, Phase
from flowstone.core.config import Config
from flowstone.core.context import Context
from flowstone.core.dependency import Dep, Requires
from flowstone.core.errors import DefinitionError
from flowstone.core.pipeline import Pipeline

P = ParamSpec("P")
R = TypeVar("R")


class Shop:
    pass


class ReportConfig(Config):
    top_n: int = 10


class Counted:
    """A strategy, as far as a definition is concerned."""


class Gated:
    """Another one."""


def counted(function: Callable[P, R]) -> Definition[P, int, R]:
    return Definition(function, strategy=Counted(), value_type=int)


def gated(function: Any) -> Definition[..., object]:
    return Definition(function, strategy=Gated())


class TestDirectCalls:
    async def test_an_asset_is_what_its_function_was(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        async def report(ctx: Context, config: ReportConfig, base: list[int]) -> int:
            return config.top_n + len(base)

        @sales.asset
        def vacuumed() -> None: ...

        ctx = Context(asset="sales.report", partition=None, run_id=1, materialization_id=1)
        assert await report(ctx, ReportConfig(top_n=1), [1, 2]) == 3
        vacuumed()

    def test_a_marker_never_reaches_the_function(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        def numbers() -> list[int]:
            return [1]

        @sales.asset
        def report(base: list[int] = Dep(numbers), *, shop: Shop = Requires(Shop)) -> int:
            return len(base)

        with pytest.raises(DefinitionError, match=r"'sales\.report' is called directly.*'base'"):
            report()
        with pytest.raises(DefinitionError, match="pass 'shop' yourself"):
            report([1, 2])
        assert report([1, 2], shop=Shop()) == 2
        assert report(base=[], shop=Shop()) == 0

    def test_it_shows_the_functions_signature_and_name(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        def report(base: list[int] = Dep("numbers", type=list[int])) -> int:
            """Sum up."""
            return 1

        assert str(inspect.signature(report)).endswith("-> int")
        assert (report.__name__, report.__module__, report.__doc__) == (  # type: ignore[attr-defined]  # set per asset
            "report",
            __name__,
            "Sum up.",
        )
        assert repr(report) == "<asset sales.report>"

    def test_it_cannot_be_changed(self) -> None:
        asset = Pipeline("sales").asset(name="x")(lambda: 1)

        with pytest.raises(AttributeError):
            asset.name = "y"  # type: ignore[misc]  # that it is refused is the test

    def test_equal_looking_assets_are_different_ones(self) -> None:
        first, second = Pipeline("sales"), Pipeline("sales")

        assert len({first.asset(name="x")(len), second.asset(name="x")(len)}) == 2


class TestDefinitions:
    def test_a_decorator_below_brings_strategy_and_value_type(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        @counted
        async def report() -> str:
            return ""

        assert isinstance(report.strategy, Counted)
        assert (report.value_type, report.signature.value_type) == (int, str)
        assert report.objections == ()

    def test_phases_bring_edges_resources_and_config_of_their_own(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        def urls() -> list[str]:
            return []

        def items(config: ReportConfig, found: list[str] = Dep(urls)) -> list[str]:
            return found[: config.top_n]

        async def gather(results: list[int], shop: Shop = Requires(Shop)) -> dict[str, int]:
            return {}

        def body(item: str, base: list[str] | None = Dep(urls, optional=True)) -> int:
            return 1

        articles: Asset[..., object] = sales.asset(name="articles")(
            Definition(
                body,
                strategy=Counted(),
                phases={"items": items, "gather": Phase(gather, supplied=1)},
                supplied=["item"],
                value_phase="gather",
                after=["vacuumed"],
            )
        )

        assert [(it.phase, it.parameter, it.optional) for it in articles.inputs] == [
            ("", "base", True),
            ("items", "found", False),
        ]
        assert [(it.phase, it.type) for it in articles.requirements] == [("gather", Shop)]
        assert articles.config_type is ReportConfig
        assert articles.value_type == dict[str, int]
        assert articles.phase_signatures["gather"].supplied == ("results",)
        assert articles.after == ("sales.vacuumed",)
        assert articles.objections == ()

    def test_one_without_a_strategy_adds_to_the_one_above(self) -> None:
        inner: Definition[..., object]
        inner = Definition(sorted, phases={"shared": len}, supplied=1)
        outer: Definition[..., object]
        outer = Definition(inner, strategy=Counted(), value_type=list[int])

        asset: Asset[..., object] = Pipeline("sales").asset(name="embedded")(outer)

        assert (list(asset.phases), asset.supplied, asset.value_type) == (["shared"], 1, list[int])
        assert asset.objections == ()

    def test_two_strategies_are_told(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        @gated
        @counted
        def report() -> int:
            return 1

        assert report.objections == ("it has two strategies, Counted and Gated; one is the most",)

    def test_a_value_from_a_phase_that_is_not_there_is_told(self) -> None:
        definition: Definition[..., object] = Definition(len, value_phase="gather")
        asset = Pipeline("sales").asset(name="x")(definition)

        assert asset.objections == ("its value comes from 'gather', which is no phase",)

    def test_the_wrong_order_of_decorators_is_told_at_once(self) -> None:
        sales = Pipeline("sales")

        with pytest.raises(
            DefinitionError, match=r"'sales\.report': @pipeline\.asset has to be above"
        ):

            @counted
            @sales.asset
            def report() -> int:
                return 1


class TestAtRunTime:
    def test_two_type_arguments_are_enough(self) -> None:
        assert Asset[..., int] == Asset[..., int, object]
        assert Definition[[str], int] == Definition[[str], int, object]

    def test_a_long_chain_without_annotations_needs_no_stack(self) -> None:
        long = Pipeline("long")

        @long.asset
        def first() -> int:
            return 1

        def following(upstream: Asset[..., int], number: int) -> Asset[..., int]:
            @long.asset(name=f"a{number}")
            def body(base=Dep(upstream)) -> int:  # type: ignore[no-untyped-def]  # that it works is the test
                return 1

            return body

        last: Asset[..., int] = first
        for number in range(2000):
            last = following(last, number)

        assert last.inputs[0].annotation is int
