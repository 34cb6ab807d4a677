"""Which reader is opened, and with which configuration."""

from collections.abc import Mapping

import pytest

from flowstone import reader
from flowstone.core.errors import InvalidOptionError, NotRegisteredError
from flowstone.core.item_reading import ItemReading
from flowstone.core.resources import Env
from tests.core.numbers_reader import At, Numbers, Seen
from tests.core.reading import numbers, pages_of, values


class TestConfiguration:
    @pytest.mark.conformance(507)
    async def test_the_assets_is_laid_over_the_registered(self, reading: ItemReading) -> None:
        seen = Seen()
        reading.readers.register("numbers", (Numbers(seen), {"upto": 3, "label": "a"}))

        await pages_of(reading, reader("numbers", label="b"))

        assert seen.configs == [{"upto": 3, "label": "b"}]

    @pytest.mark.conformance(508)
    async def test_an_unknown_name_lists_the_known_ones(self, reading: ItemReading) -> None:
        reading.readers.register("numbers", Numbers)

        with pytest.raises(
            NotRegisteredError,
            match=r"no item reader is registered as 'number'.*Did you mean 'numbers'",
        ):
            await pages_of(reading, reader("number"))

    async def test_limits_may_be_registered_too(self, reading: ItemReading) -> None:
        reading.readers.register("numbers", (Numbers, {"upto": 9, "max_items": 4}))

        assert values(await pages_of(reading, reader("numbers"))) == [1, 2, 3, 4]
        assert values(await pages_of(reading, reader("numbers", max_items=2))) == [1, 2]

    @pytest.mark.conformance(262)
    async def test_functions_are_called_for_their_values_at_any_depth(
        self, reading: ItemReading
    ) -> None:
        given: list[Mapping[str, object]] = []

        class Kept(Numbers):
            kept_functions = frozenset({"choose"})

            async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> At:
                given.append(config)
                return At(0, even_only=False)

        async def later(deps: Mapping[str, object]) -> object:
            return deps["day"]

        def choose(row: object) -> object:
            return row

        source = reader(
            Kept,
            bucket=lambda deps: f"b-{deps['day']}",
            nested={"list": [later, {"deep": lambda: 1}], "type": int},
            choose=choose,
        )
        await pages_of(reading, source, deps={"day": 7})

        assert given == [
            {
                "bucket": "b-7",
                "nested": {"list": [7, {"deep": 1}], "type": int},
                "choose": choose,
            }
        ]

    async def test_environment_variables_are_looked_up_at_any_depth(
        self, reading: ItemReading, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = Seen()
        monkeypatch.setenv("THE_LABEL", "eu")

        await pages_of(reading, reader(Numbers(seen), upto=1, label=[{"of": Env("THE_LABEL")}]))

        assert seen.configs == [{"upto": 1, "label": [{"of": "eu"}]}]
        with pytest.raises(InvalidOptionError, match="THE_OTHER is not set"):
            await pages_of(reading, numbers(label=Env("THE_OTHER")))

    async def test_a_function_of_two_arguments_is_refused_by_its_place(
        self, reading: ItemReading
    ) -> None:
        with pytest.raises(InvalidOptionError, match=r"'label.of\[0\]' is a function of 2"):
            await pages_of(reading, numbers(label={"of": [lambda a, b: 1]}))

    def test_what_names_no_reader_is_refused(self) -> None:
        for wrong in ("", int, 3):
            with pytest.raises(InvalidOptionError, match="must be a registered name"):
                reader(wrong)  # type: ignore[arg-type]
