from typing import Annotated, Protocol

import pytest

from flowstone.core.dependency import AssetValue, Dep, Requires
from flowstone.core.errors import DefinitionError
from flowstone.core.pipeline import Pipeline
from flowstone.core.source import Edge, ResourceMarker, Source, Upstream

sales = Pipeline("sales")


@sales.asset
def numbers() -> list[int]:
    return [1, 2, 3]


class Warehouse(Protocol):
    def rows(self) -> int: ...


class TestDep:
    def test_an_asset_becomes_an_edge_by_its_full_name(self) -> None:
        marker: object = Dep(numbers)

        assert isinstance(marker, Source)
        assert marker.edges() == (Edge("sales.numbers", optional=False),)

    def test_a_name_needs_its_type(self) -> None:
        with pytest.raises(DefinitionError, match=r'Dep\("sales.raw", type=\.\.\.\)'):
            Dep("sales.raw")  # type: ignore[call-overload]  # that it is refused is the test

    def test_a_function_without_a_decorator_is_named(self) -> None:
        def raw() -> int:
            return 1

        with pytest.raises(DefinitionError, match="'raw' is no asset; is @pipeline"):
            Dep(raw)  # type: ignore[call-overload]  # that it is refused is the test

    def test_an_asset_that_was_called_is_named(self) -> None:
        @sales.asset
        async def later() -> int:
            return 1

        with pytest.raises(DefinitionError, match=r"'later' was called; write Dep\(later\)"):
            Dep(later())  # type: ignore[call-overload]  # that it is refused is the test

    @pytest.mark.parametrize("upstream", [None, 3, [numbers]])
    def test_anything_else_is_refused(self, upstream: object) -> None:
        with pytest.raises(DefinitionError, match="takes an asset or the name of one"):
            Dep(upstream)  # type: ignore[call-overload]  # that it is refused is the test

    def test_an_optional_one_without_a_value_gives_none(self) -> None:
        marker: object = Dep(numbers, optional=True)

        assert isinstance(marker, AssetValue)
        assert marker.resolve([Upstream("sales.numbers", status="skipped")]) is None
        assert marker.resolve([Upstream("sales.numbers", [1])]) == [1]

    def test_it_reads_as_it_was_written(self) -> None:
        assert str(Dep(numbers)) == "Dep(numbers)"
        assert str(Dep(numbers, optional=True)) == "Dep(numbers, optional=True)"
        assert str(Dep("a.b", type=int)) == "Dep('a.b', type=int)"


class TestDecoding:
    def test_the_consumers_annotation_decides(self) -> None:
        @sales.asset
        def first(base: tuple[int, ...] = Dep("numbers", type=tuple[int, ...])) -> None: ...

        assert [wanted.annotation for wanted in first.inputs] == [tuple[int, ...]]

    def test_without_one_it_is_what_the_producer_returns(self) -> None:
        @sales.asset
        def second(base=Dep(numbers), late=Dep("later", type=str)) -> None: ...  # type: ignore[no-untyped-def]  # that it works is the test

        assert [wanted.annotation for wanted in second.inputs] == [list[int], str]

    def test_annotated_means_the_same(self) -> None:
        @sales.asset
        def third(base: Annotated[list[int], "a note", Dep(numbers)]) -> None: ...

        (wanted,) = third.inputs
        assert (wanted.upstream, wanted.annotation) == ("sales.numbers", list[int])


class TestRequires:
    def test_it_names_a_class(self) -> None:
        marker: object = Requires(Warehouse)

        assert marker == ResourceMarker(Warehouse)

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="takes the class of a resource"):
            Requires("warehouse")  # type: ignore[call-overload]  # that it is refused is the test
