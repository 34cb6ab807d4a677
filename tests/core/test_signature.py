from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial, wraps
from typing import Annotated, Any, Generic, TypeVar

import pytest

from flowstone.core.annotations import type_text
from flowstone.core.config import Config
from flowstone.core.context import Context
from flowstone.core.dependency import Dep, Requires
from flowstone.core.parameters import Missing
from flowstone.core.pipeline import Pipeline
from flowstone.core.results import Cancel, ReturnedOutcome, Skip, Snooze
from flowstone.core.signature import read
from flowstone.core.source import Edge, Source, Upstream

sales = Pipeline("sales")


@sales.asset
def numbers() -> list[int]:
    return [1, 2, 3]


@sales.asset
def words() -> list[str]:
    return ["a"]


class Shop:
    pass


class ReportConfig(Config):
    top_n: int = 10


class OtherConfig(Config):
    depth: int = 1


T = TypeVar("T")


class Held(ReturnedOutcome, Generic[T]):
    """What a plugin may let a function return in the place of its value."""


class Given(ReturnedOutcome):
    pass


@dataclass(frozen=True)
class FirstOf(Source):
    """What a plugin may bring: the first of several upstreams that has a value."""

    names: tuple[str, ...]

    def edges(self) -> Sequence[Edge]:
        return [Edge(name, optional=True) for name in self.names]

    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        return next((it.value for it in upstreams if it.has_value), Skip("no branch ran"))

    def objection(self, annotation: object) -> str | None:
        return "FirstOf never gives None" if annotation is type(None) else None


class TestSources:
    def test_each_parameter_has_one(self) -> None:
        def report(
            ctx: Context[date],
            config: ReportConfig,
            base: list[int] = Dep(numbers),
            shop: Shop = Requires(Shop),
            *,
            late: Annotated[str | None, Dep("other.late", type=str, optional=True)],
        ) -> None: ...

        signature = read(report, pipeline="sales")

        assert signature.context_parameter == "ctx"
        assert signature.partition_type is date
        assert (signature.config_parameter, signature.config_type) == ("config", ReportConfig)
        assert [(it.parameter, it.upstream, it.optional) for it in signature.inputs] == [
            ("base", "sales.numbers", False),
            ("late", "other.late", True),
        ]
        assert [(it.parameter, it.type) for it in signature.requirements] == [("shop", Shop)]
        assert (signature.missing, signature.objections) == ((), ())

    @pytest.mark.parametrize(
        ("annotation", "partition_type", "needs_partition"),
        [
            (Context, None, False),
            (Context[int], int, True),
            (Context[date | None], date, False),
            (Context[tuple[str, date]], tuple, True),
            (Context[str | int], None, True),
            (Context[None], None, False),
            (Context[Any], None, False),
            (Context[object], None, False),
        ],
    )
    def test_a_context_says_what_the_partition_is(
        self, annotation: object, partition_type: type | None, needs_partition: bool
    ) -> None:
        def report(ctx: Context) -> None: ...

        report.__annotations__["ctx"] = annotation

        signature = read(report, pipeline="sales")
        assert (signature.context_parameter, signature.objections) == ("ctx", ())
        assert signature.partition_type is partition_type
        assert signature.needs_partition is needs_partition

    def test_a_plugin_can_bring_one_with_several_edges(self) -> None:
        source = FirstOf(("by_mgrs", "other.by_name"))

        def region(found: Annotated[str, source]) -> None: ...

        (argument,) = read(region, pipeline="geo").arguments

        upstreams = [it.upstream for it in argument.inputs]
        assert upstreams == ["geo.by_mgrs", "other.by_name"]
        assert argument.source.resolve([Upstream("a", status="skipped"), Upstream("b", "x")]) == "x"
        assert argument.source.resolve([]) == Skip("no branch ran")

    def test_a_plugins_source_may_object_to_the_annotation(self) -> None:
        def region(found: Annotated[None, FirstOf(("a",))]) -> None: ...

        assert read(region, pipeline="geo").objections == (
            "parameter 'found': FirstOf never gives None",
        )

    def test_a_parameter_without_one_is_missing(self) -> None:
        def report(numbers: list[int], limit: int = 10, anything=None) -> None: ...  # type: ignore[no-untyped-def]  # that it is refused is the test

        assert read(report, pipeline="sales").missing == (
            Missing("numbers", "list[int]", None),
            Missing("limit", "int", "10"),
            Missing("anything", "", "None"),
        )


class TestObjections:
    def objections(self, function: Any, **options: Any) -> tuple[str, ...]:
        return read(function, pipeline="sales", **options).objections

    def test_an_optional_edge_needs_none_in_its_annotation(self) -> None:
        def report(base: list[int] = Dep(numbers, optional=True)) -> None: ...  # type: ignore[assignment]  # that it is refused is the test

        (objection,) = self.objections(report)
        assert objection.startswith("parameter 'base': Dep(numbers, optional=True) may give None;")
        assert objection.endswith("annotate it list[int] | None")

    def test_stars_are_refused(self) -> None:
        def report(*args: int, **kwargs: int) -> None: ...

        first, second = self.objections(report)
        assert "'*args: int' is refused" in first
        assert "'**kwargs: int' is refused" in second

    def test_two_sources_of_one_parameter_are_refused(self) -> None:
        def twice(base: Annotated[list[int], Dep(numbers)] = Dep(numbers)) -> None: ...

        def ordinary(base: Annotated[list[int], Dep(numbers)] = []) -> None: ...  # noqa: B006

        assert self.objections(twice) == ("parameter 'base' has 2 sources",)
        assert self.objections(ordinary) == (
            "parameter 'base' has a source in Annotated and a default",
        )

    def test_a_source_is_no_annotation(self) -> None:
        def report(base, extra, shop) -> None: ...  # type: ignore[no-untyped-def]  # made below

        report.__annotations__ |= {
            "base": Dep(numbers),
            "extra": Dep(numbers, optional=True),
            "shop": Requires(Shop),
        }

        assert self.objections(report) == (
            "parameter 'base': Dep(numbers) is no type. Write base: list[int] = Dep(numbers)",
            (
                "parameter 'extra': Dep(numbers, optional=True) is no type. "
                "Write extra: list[int] | None = Dep(numbers, optional=True)"
            ),
            "parameter 'shop': Requires(Shop) is no type. Write shop: Shop = Requires(Shop)",
        )

    def test_two_contexts_or_configs_are_refused(self) -> None:
        def report(a: Context, b: Context[int], c: ReportConfig, d: OtherConfig) -> None: ...

        assert self.objections(report) == (
            "two parameters want the Context: a, b",
            "two parameters want a Config: c, d; put them in one class",
        )

    def test_what_no_partition_can_be_is_refused(self) -> None:
        def report(ctx: Context[list[int]]) -> None: ...

        (objection,) = self.objections(report)
        assert objection.startswith("Context[list[int]]: a partition is one of str, bool, int,")

    def test_what_a_strategy_supplies_has_to_be_a_parameter(self) -> None:
        def body(item: str) -> None: ...

        assert self.objections(body, supplied=["item", "key"]) == (
            "its function has no parameter 'key', which its strategy supplies",
        )
        assert self.objections(body, supplied=2, phase="gather") == (
            "its gather function is given 2 arguments by its strategy, but has 1 parameters",
        )


class TestSuppliedParameters:
    def test_leading_ones_need_no_source(self) -> None:
        def body(item: str, retries: int = 3, base: list[int] = Dep(numbers)) -> None: ...

        signature = read(body, pipeline="sales", supplied=2)

        assert signature.supplied == ("item", "retries")
        assert signature.missing == ()
        assert [it.parameter for it in signature.inputs] == ["base"]

    def test_their_types_are_known(self) -> None:
        def body(item: "list[int]", other, third: "Nowhere") -> None: ...  # type: ignore[no-untyped-def, name-defined]  # noqa: F821

        signature = read(body, pipeline="sales", supplied=["item", "other", "third"])

        assert signature.supplied_types["item"] == list[int]
        assert signature.supplied_types["other"] is object
        (objection,) = signature.objections
        assert objection.startswith("parameter 'third' is annotated 'Nowhere', which does not name")

    def test_named_ones_may_be_anywhere(self) -> None:
        def body(base: list[int] = Dep(numbers), *, payload: str) -> None: ...

        signature = read(body, pipeline="sales", supplied=["payload"])

        assert (signature.supplied, signature.missing) == (("payload",), ())


class TestCalling:
    def test_arguments_go_by_name(self) -> None:
        def report(a: int, *, b: int) -> tuple[int, int]:
            return a, b

        signature = read(report, pipeline="sales", supplied=2)

        assert signature.call({"b": 2, "a": 1}) == (1, 2)

    def test_positional_only_parameters_are_served(self) -> None:
        def report(a: int, b: int, /, c: int) -> tuple[int, int, int]:
            return a, b, c

        signature = read(report, pipeline="sales", supplied=3)

        assert signature.call({"c": 3, "b": 2, "a": 1}) == (1, 2, 3)

    def test_what_a_partial_binds_needs_no_source(self) -> None:
        def report(limit: int, base: list[int] = Dep(numbers)) -> int:
            return limit + len(base)

        signature = read(partial(report, limit=5), pipeline="sales")

        assert signature.missing == ()
        assert signature.call({"base": [1, 2]}) == 7

    def test_a_wrapped_function_is_read_through_its_wrapper(self) -> None:
        def report(base: list[int] = Dep(numbers)) -> list[int]:
            return base

        @wraps(report)
        def logged(*args: Any, **kwargs: Any) -> list[int]:
            return [*report(*args, **kwargs), 0]

        signature = read(logged, pipeline="sales")

        assert [it.upstream for it in signature.inputs] == ["sales.numbers"]
        assert signature.call({"base": [1]}) == [1, 0]


class TestValueType:
    @pytest.mark.parametrize(
        ("returns", "value_type"),
        [
            (int, "int"),
            (None, "None"),
            (int | Skip, "int"),
            (list[int] | Skip | Snooze | Cancel, "list[int]"),
            (int | None | Skip, "int | None"),
            (Skip, "None"),
            (Skip | Cancel, "None"),
            (int | Held[int], "int"),
            (Held[int] | Skip, "int"),
            (Held[int | str], "int | str"),
            (int | Given, "int"),
            (Given, "None"),
            (Annotated[int, "note"], "int"),
        ],
    )
    def test_outcomes_are_no_values(self, returns: object, value_type: str) -> None:
        def report() -> None: ...

        report.__annotations__["return"] = returns

        assert type_text(read(report, pipeline="sales").value_type) == value_type

    def test_without_an_annotation_it_is_open(self) -> None:
        def report():  # type: ignore[no-untyped-def]  # that it works is the test
            return 1

        assert read(report, pipeline="sales").value_type is object
