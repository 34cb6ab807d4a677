from abc import ABC, abstractmethod
from typing import ClassVar

import pytest

from flowstone.core.errors import (
    AlreadyRegisteredError,
    IncompatiblePluginError,
    InvalidOptionError,
    NotRegisteredError,
    RegistrationError,
)
from flowstone.core.registry import Registry


class Shelf(ABC):
    contract_version: ClassVar[str] = "1.2.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    def reach(self) -> str: ...


class Wooden(Shelf):
    def __init__(self, bucket: str = "", n: int = 0) -> None:
        self.bucket = bucket
        self.n = n

    def reach(self) -> str:
        return f"{self.bucket}{self.n}"


@pytest.fixture
def shelves() -> Registry[Shelf]:
    return Registry("shelf", contract=Shelf, fallback=Wooden)


class TestRegistering:
    @pytest.mark.conformance(504)
    def test_a_name_resolves_to_implementation_and_configuration(self, shelves) -> None:
        shelves.register("lake", Wooden, {"bucket": "a"})

        assert (Wooden, {"bucket": "a"}) == shelves.resolve("lake")

    @pytest.mark.conformance(504)
    def test_an_unknown_name_lists_the_known_ones(self, shelves) -> None:
        shelves.register("lake", Wooden)

        with pytest.raises(NotRegisteredError) as caught:
            shelves.resolve("laek")

        error = caught.value
        assert (error.registry, error.name, error.known) == ("shelf", "laek", ("lake",))
        assert "Did you mean 'lake'?" in str(error)

    @pytest.mark.conformance(505)
    def test_an_entry_is_an_implementation_or_a_pair(self, shelves) -> None:
        oak = Wooden()
        shelves.register("bare", oak)
        shelves.register("pair", (Wooden, {"n": 1}))

        assert (oak, {}) == shelves.resolve("bare")
        assert (Wooden, {"n": 1}) == shelves.resolve("pair")
        assert ["bare", "pair"] == shelves.list() == list(shelves)

    def test_a_name_is_taken_once(self, shelves) -> None:
        shelves.register("lake", Wooden)

        with pytest.raises(AlreadyRegisteredError, match="lake"):
            shelves.register("lake", Wooden)

    def test_replacing_forgets_the_instance_of_before(self, shelves) -> None:
        shelves.register("lake", Wooden, {"n": 1})
        assert shelves.instance("lake").reach() == "1"

        shelves.register("lake", Wooden, {"n": 2}, replace=True)

        assert shelves.instance("lake").reach() == "2"

    @pytest.mark.parametrize("entry", [object(), dict, (Wooden,), (Wooden, {}, {}), (Wooden, 1)])
    def test_what_is_no_implementation_is_refused(self, shelves, entry) -> None:
        with pytest.raises((RegistrationError, InvalidOptionError), match="lake"):
            shelves.register("lake", entry)

        assert "lake" not in shelves

    @pytest.mark.parametrize("name", ["", None, 3])
    def test_a_name_is_a_text(self, shelves, name) -> None:
        with pytest.raises(InvalidOptionError):
            shelves.register(name, Wooden)

    @pytest.mark.conformance(512)
    @pytest.mark.parametrize("version", ["0.9.0", "2.0.0", "1", "latest"])
    def test_an_implementation_of_another_contract_is_refused(self, shelves, version) -> None:
        class Old(Wooden):
            contract_version = version

        with pytest.raises(IncompatiblePluginError, match="lake"):
            shelves.register("lake", Old())

    @pytest.mark.conformance(512)
    @pytest.mark.parametrize("version", ["1.0.0", "1.2.0", "1.9.3", None])
    def test_an_implementation_of_this_contract_is_taken(self, shelves, version) -> None:
        class Fitting(Wooden):
            contract_version = version

        shelves.register("lake", Fitting())

        assert "lake" in shelves


class TestTheDefault:
    @pytest.mark.conformance(506)
    def test_without_an_entry_it_is_the_fallback_with_no_configuration(self, shelves) -> None:
        assert (Wooden, {}) == shelves.default() == shelves.resolve("default")

    def test_an_entry_of_that_name_takes_precedence(self, shelves) -> None:
        shelves.register("default", Wooden, {"n": 4})

        assert shelves.instance("default").reach() == "4"

    def test_a_registry_without_a_fallback_has_none(self) -> None:
        with pytest.raises(NotRegisteredError):
            Registry[Shelf]("shelf").default()


class TestConfiguration:
    @pytest.mark.conformance(507)
    def test_an_assets_own_is_merged_over_the_registered_one(self, shelves) -> None:
        shelves.register("lake", Wooden, {"bucket": "a", "n": 1})

        assert shelves.resolve_with_config("lake", {"bucket": "b"}).config == {
            "bucket": "b",
            "n": 1,
        }
        assert shelves.resolve("lake").config == {"bucket": "a", "n": 1}

    @pytest.mark.conformance(509)
    def test_one_instance_is_made_per_configuration(self, shelves) -> None:
        shelves.register("lake", Wooden, {"bucket": "a"})

        assert shelves.instance("lake", {"n": 1}).reach() == "a1"
        assert shelves.instance("lake", {"n": 1}) is shelves.instance("lake", {"n": 1})
        assert shelves.instance("lake") is not shelves.instance("lake", {"n": 1})

    def test_a_function_can_make_the_instance(self, shelves) -> None:
        shelves.register("lake", lambda bucket: Wooden(bucket, 7), {"bucket": "z"})

        assert shelves.instance("lake").reach() == "z7"

    def test_an_instance_takes_no_configuration(self, shelves) -> None:
        shelves.register("lake", Wooden())

        with pytest.raises(InvalidOptionError, match="as an instance"):
            shelves.instance("lake", {"n": 1})

    def test_an_option_that_the_implementation_has_not_is_refused_without_its_value(
        self, shelves
    ) -> None:
        shelves.register("lake", Wooden)

        with pytest.raises(InvalidOptionError, match="secret") as caught:
            shelves.instance("lake", {"secret": "hunter2"})

        assert "hunter2" not in str(caught.value)

    def test_a_function_that_makes_something_else_is_found_out(self, shelves) -> None:
        shelves.register("lake", lambda: "a text")

        with pytest.raises(RegistrationError, match="made a str"):
            shelves.instance("lake")

    @pytest.mark.parametrize("value", [object(), float("nan"), {1}])
    def test_an_assets_configuration_is_json(self, shelves, value) -> None:
        shelves.register("lake", Wooden)

        with pytest.raises(InvalidOptionError, match="JSON"):
            shelves.instance("lake", {"n": value})


def test_two_registries_share_nothing() -> None:
    first, second = Registry[Shelf]("shelf"), Registry[Shelf]("shelf")

    first.register("lake", Wooden())

    assert second.list() == []
