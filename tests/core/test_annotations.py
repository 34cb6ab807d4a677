from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest

from flowstone.core.annotations import accepts_none, type_text
from flowstone.core.config import Config
from flowstone.core.dependency import Dep, Requires
from flowstone.core.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal as Money
    from xml.etree import ElementTree

    from nowhere_at_all import Nothing  # type: ignore[import-not-found]  # fails on purpose

    from flowstone.core.context import Context

sales = Pipeline("sales")


@sales.asset
def numbers() -> Mapping[str, Money]:
    return {}


class TestNamesForTypeCheckersOnly:
    def test_they_are_imported_when_they_are_needed(self) -> None:
        @sales.asset
        def report(
            ctx: Context[int], base: Mapping[str, Money] = Dep(numbers)
        ) -> ElementTree.Element:
            raise NotImplementedError

        assert report.context_parameter == "ctx"
        assert type_text(report.inputs[0].annotation) == "Mapping[str, Decimal]"
        assert type_text(report.value_type) == "Element"
        assert report.signature.objections == ()

    def test_an_edge_to_an_asset_falls_back_on_the_producers_type(self) -> None:
        @sales.asset
        def report(base: Nothing = Dep(numbers)) -> None: ...

        assert report.inputs[0].annotation == numbers.value_type
        assert report.signature.objections == ()

    def test_elsewhere_one_that_cannot_be_imported_is_named(self) -> None:
        @sales.asset
        def report(base: Nothing = Dep("late", type=object)) -> Nothing: ...

        first, second = report.signature.objections
        assert first.startswith("parameter 'base' is annotated 'Nothing', which does not name a")
        assert "No module named 'nowhere_at_all'" in first
        assert second.startswith("the return annotation is annotated 'Nothing'")


class TestLocalNames:
    def test_classes_of_the_surrounding_function_are_found(self) -> None:
        class Local(Config):
            limit: int = 1

        class Shop: ...

        @sales.asset
        def report(config: Local, shop: Shop = Requires(Shop)) -> list[Shop]:
            return [shop]

        assert report.config_type is Local
        assert report.value_type == list[Shop]

    def test_a_function_from_elsewhere_does_not_see_the_names_around_its_decorator(self) -> None:
        Later = 3  # noqa: F841, N806 - must not be found

        assert sales.asset(name="elsewhere")(later_list).value_type == list[globals()["Later"]]

    def test_a_factory_finds_what_it_closes_over(self) -> None:
        def factory(kind: type) -> Callable[[], None]:
            def report(base: kind = Dep("numbers", type=object)) -> None:  # type: ignore[valid-type]  # a factory's argument
                print(kind)

            return report

        made = sales.asset(name="made")(factory(dict))

        assert made.inputs[0].annotation is dict


class TestNamesDefinedFurtherDown:
    def test_they_are_found_once_the_module_is_loaded(self) -> None:
        assert early.signature.objections == ()
        assert early.value_type is Later

    def test_asking_too_early_does_not_fix_the_failure(self, empty_module: ModuleType) -> None:
        exec(
            "from flowstone.core.pipeline import Pipeline\n"
            "p = Pipeline('p')\n"
            "@p.asset\n"
            "def first() -> 'Later': ...\n",
            vars(empty_module),
        )
        first = empty_module.first
        assert first.signature.objections != ()

        exec("class Later: pass", vars(empty_module))

        assert first.value_type is empty_module.Later
        assert first.signature.objections == ()


@sales.asset
def early() -> Later:
    return Later()


class Later: ...


def later_list() -> list[Later]:
    return []


@pytest.fixture
def empty_module(tmp_path: Path) -> Iterator[ModuleType]:
    module = sys.modules["being_loaded"] = ModuleType("being_loaded")
    yield module
    del sys.modules["being_loaded"]


class TestTypesAsText:
    @pytest.mark.parametrize(
        ("annotation", "text"),
        [
            (int, "int"),
            (None, "None"),
            (list[int], "list[int]"),
            (dict[str, list[int]], "dict[str, list[int]]"),
            (int | None, "int | None"),
            (Optional[int], "int | None"),  # noqa: UP045 - the old spelling is the test
            (Literal["a", 1], "Literal['a', 1]"),
            (tuple[int, ...], "tuple[int, ...]"),
            (tuple[()], "tuple[()]"),
            (Annotated[int, "x"], "int"),
            (Any, "Any"),
            (TestNamesForTypeCheckersOnly, "TestNamesForTypeCheckersOnly"),
        ],
    )
    def test_they_read_as_people_write_them(self, annotation: object, text: str) -> None:
        assert type_text(annotation) == text

    def test_the_function_around_a_class_is_left_out(self) -> None:
        class Local: ...

        assert type_text(list[Local]) == "list[Local]"


@pytest.mark.parametrize(
    ("annotation", "accepts"),
    [
        (int, False),
        (None, True),
        (int | None, True),
        (Annotated[int | None, "x"], True),
        (Literal["a", None], True),
        (list[None], False),
        (object, True),
        (Any, True),
    ],
)
def test_whether_none_is_a_value(annotation: object, accepts: bool) -> None:
    assert accepts_none(annotation) is accepts
