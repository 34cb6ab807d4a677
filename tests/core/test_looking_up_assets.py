"""An asset is found by itself, by its names and by its old names."""

import pytest

from flowstone.core.definitions import Definitions, build
from flowstone.core.dependency import Dep
from flowstone.core.errors import (
    DefinitionError,
    UnknownAssetError,
)
from flowstone.core.pipeline import Pipeline


class TestLookingUp:
    @pytest.fixture
    def definitions(self, sales: Pipeline) -> Definitions:
        hr = Pipeline("hr")
        hr.asset(name="numbers")(lambda: 1)
        hr.asset(name="people", aliases=["staff", "sales.people"])(lambda: 1)
        return build([sales, hr])

    @pytest.mark.conformance(159)
    def test_assets_are_listed_in_order(self) -> None:
        basics = Pipeline("basics")

        @basics.asset
        def greeting() -> str:
            return "Hello, World!"

        @basics.asset
        def numbers() -> list[int]:
            return [1, 2, 3, 4, 5]

        @basics.asset
        def doubled(base: list[int] = Dep(numbers)) -> list[int]:
            return [2 * it for it in base]

        @basics.asset
        def total(base: list[int] = Dep(doubled)) -> int:
            return sum(base)

        definitions = build([basics])

        assert [it.name for it in definitions] == ["greeting", "numbers", "doubled", "total"]
        assert list(definitions.dag.upstream["basics.doubled"]) == ["basics.numbers"]
        with pytest.raises(UnknownAssetError):
            definitions.get("unknown")

    def test_an_asset_is_found_by_itself_its_names_and_its_old_names(
        self, definitions: Definitions
    ) -> None:
        people = definitions.assets["hr.people"]

        for reference in (people, "hr.people", "people", "hr.staff", "staff", "sales.people"):
            assert definitions.get(reference) is people

    def test_a_name_that_several_have_is_refused_with_both(self, definitions: Definitions) -> None:
        with pytest.raises(DefinitionError, match=r"say which: sales\.numbers, hr\.numbers"):
            definitions.get("numbers")

    def test_an_unknown_one_is_refused_with_a_suggestion(self, definitions: Definitions) -> None:
        with pytest.raises(UnknownAssetError) as caught:
            definitions.get("hr.poeple")

        assert caught.value.suggestion == "hr.people"

    def test_an_asset_of_a_pipeline_that_was_not_given_is_unknown(
        self, definitions: Definitions
    ) -> None:
        stranger = Pipeline("stranger").asset(name="x")(lambda: 1)

        with pytest.raises(UnknownAssetError) as caught:
            definitions.get(stranger)

        assert str(caught.value) == (
            "asset 'stranger.x': the application has no pipeline 'stranger'. Add it: "
            "FlowStone([..., stranger])"
        )

    def test_what_is_given_in_the_place_of_an_asset_is_told_with_what_to_do(self) -> None:
        hr = Pipeline("hr")

        @hr.asset
        async def people() -> int:
            return 1

        @hr.job
        def hire(name: str) -> None: ...

        definitions = build([hr])
        told = {
            people(): "'people' was called, and gives no asset: leave the () out",
            hr: "'hr' is a pipeline, and no asset: give a list of them, its .assets",
            hire: "'hr.hire' is a job, and no asset: app.enqueue(hire.with_(...))",
            "hire": "'hr.hire' is a job, and no asset: app.enqueue(hire.with_(...))",
        }
        for given, message in told.items():
            with pytest.raises(DefinitionError) as caught:
                definitions.get(given)  # type: ignore[arg-type]  # what is told of it is the test
            assert str(caught.value) == message

    def test_rows_may_have_names_that_are_not_known(self, definitions: Definitions) -> None:
        assert definitions.find("hr.gone") is None
        assert definitions.find("people") is None
        assert definitions.find("hr.staff") is definitions.assets["hr.people"]
        assert "hr.staff" in definitions
        assert "hr.gone" not in definitions
