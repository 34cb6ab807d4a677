"""A parameter without a source, or a resource that is not there: the line to write is told."""

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.asset import Definition, Phase
from flowstone.core.definitions import check
from flowstone.core.dependency import Requires
from flowstone.core.errors import (
    DefinitionError,
)
from flowstone.core.pipeline import Pipeline
from tests.core.defining import Immediate, Shop, told


class TestAParameterWithoutSource:
    def test_the_asset_with_that_name_is_offered(self, sales: Pipeline) -> None:
        @sales.asset
        def doubled(numbers: list[int]) -> list[int]:
            return [2 * it for it in numbers]

        (problem,) = check([sales])

        assert str(problem) == (
            f"tests/core/test_missing_sources.py:{doubled.source.line}  asset 'sales.doubled': "
            "parameter 'numbers' has no source.\n"
            "  There is an asset with that name. Did you mean\n"
            "      numbers: list[int] = Dep(numbers)"
        )

    def test_without_an_annotation_the_line_has_the_producers_type(self, sales: Pipeline) -> None:
        @sales.asset
        def doubled(numbers):  # type: ignore[no-untyped-def]  # that it is refused is the test
            return numbers

        assert told(sales).endswith("numbers: list[int] = Dep(numbers)")

    def test_an_asset_of_another_pipeline_is_offered_too(self, sales: Pipeline) -> None:
        other = Pipeline("other")
        other.asset(name="doubled")(lambda numbers: numbers)

        assert told(sales, other).endswith("numbers: list[int] = Dep(numbers)")

    def test_a_name_that_is_nearly_an_assets_is_recognized(self, sales: Pipeline) -> None:
        sales.asset(name="doubled")(lambda nubmers: 1)

        assert "There is an asset 'sales.numbers'. Did you mean" in told(sales)

    def test_a_context_and_a_config_are_recognized_by_name(self, sales: Pipeline) -> None:
        sales.asset(name="daily_report")(lambda ctx, config: 1)

        assert "Did you mean\n      ctx: Context" in told(sales)
        assert "Did you mean\n      config: DailyReportConfig" in told(sales)

    def test_a_context_with_a_default_is_recognized_too(self, sales: Pipeline) -> None:
        sales.asset(name="daily_report")(lambda ctx=None: 1)

        assert "Did you mean\n      ctx: Context" in told(sales)

    def test_a_default_belongs_into_a_config(self, sales: Pipeline) -> None:
        @sales.asset
        def report(limit: int = 10) -> None: ...

        assert told(sales) == (
            "asset 'sales.report': parameter 'limit' has no source.\n"
            "  Nothing would ever replace 10. A run can, in a Config:\n"
            "      class ReportConfig(Config):\n"
            "          limit: int = 10"
        )

    def test_a_default_is_no_asset_of_a_similar_name(self, sales: Pipeline) -> None:
        @sales.asset
        def report(number: int = 10) -> None: ...

        assert "Nothing would ever replace 10" in told(sales)

    def test_otherwise_both_kinds_of_source_are_shown(self, sales: Pipeline) -> None:
        @sales.asset
        def report(shop: Shop) -> None: ...

        assert told(sales).endswith("      shop: Shop = Dep(...)\n      shop: Shop = Requires(...)")

    def test_a_phases_parameter_is_told_with_its_phase(self, sales: Pipeline) -> None:
        def gather(results: list[int], shop: Shop) -> None: ...

        sales.asset(name="articles")(
            Definition(lambda: 1, strategy=Immediate(), phases={"gather": Phase(gather, 1)})
        )

        assert "in its gather function: parameter 'shop' has no source" in told(sales)


class TestAResource:
    def test_one_that_the_application_lacks_is_told_with_the_line_to_write(
        self, sales: Pipeline
    ) -> None:
        @sales.asset
        def report(shop: Shop = Requires(Shop)) -> None: ...

        with pytest.raises(DefinitionError) as caught:
            FlowStone(sales)

        assert str(caught.value) == (
            f"tests/core/test_missing_sources.py:{report.source.line}  asset 'sales.report': "
            "parameter 'shop' requires a resource, and there is none. Add\n"
            "      FlowStone(..., resources={Shop: ...})"
        )

    def test_it_is_told_together_with_all_else(self, sales: Pipeline) -> None:
        @sales.asset
        def report(number: int, shop: Shop = Requires(Shop)) -> None: ...

        with pytest.raises(DefinitionError, match="2 problems"):
            FlowStone(sales)

    def test_the_functions_of_a_strategy_need_theirs_too(self, sales: Pipeline) -> None:
        def on_wake(shop: Shop = Requires(Shop)) -> None: ...

        sales.asset(name="report")(
            Definition(
                lambda: None,
                strategy=Immediate(),
                phases={"wake": Phase(on_wake)},
                value_type=type(None),
            )
        )

        with pytest.raises(DefinitionError, match="in its wake function: parameter 'shop'"):
            FlowStone(sales)

    def test_pipelines_alone_say_nothing_of_resources(self, sales: Pipeline) -> None:
        @sales.asset
        def report(shop: Shop = Requires(Shop)) -> None: ...

        assert check([sales]) == []
