import pytest

from flowstone.core.chosen_io import ChosenIO
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.errors import InvalidOptionError
from flowstone.core.io_choice import parse, text_of
from flowstone.core.registry import Registry
from flowstone.plugins.io_files import FilesIO
from tests.opaque import Opaque


def test_a_name_is_its_own_text() -> None:
    assert text_of("lake") == text_of(("lake", {})) == "lake"


def test_a_configuration_stands_behind_the_name_with_its_fields_in_order() -> None:
    text = text_of(("lake", {"prefix": "eu", "depth": 2}))

    assert text == 'lake {"depth":2,"prefix":"eu"}'
    assert parse(text, ["lake", "pond"]) == ("lake", {"prefix": "eu", "depth": 2})


@pytest.mark.parametrize("name", ["lake", 'la {"x":1}ke', "lake {", 'a {"x":1}', "ü {} $1"])
@pytest.mark.parametrize("config", [{}, {"a": {"b": [1, None, "ü {"]}}], ids=repr)
def test_any_name_comes_back_as_it_was(name: str, config: dict[str, object]) -> None:
    assert parse(text_of((name, config)), ["a", "lake", name]) == (name, config)


def test_an_unknown_name_is_told_apart_from_its_configuration() -> None:
    assert parse('lak {"a":1}', ["lake"]) == ("lak", {"a": 1})
    assert parse("lak {a", ["lake"]) == ("lak {a", {})


def test_a_text_that_was_typed_by_hand_is_the_same_choice() -> None:
    registry: Registry[IOManager] = Registry("IO manager", contract=IOManager)
    registry.register("files", FilesIO)

    typed = ChosenIO(registry).text('files { "root": "/data","latest":true}')

    assert typed == text_of(("files", {"root": "/data", "latest": True}))


@pytest.mark.parametrize("io", [7, ("lake",), ("lake", 1), (1, {}), ["lake", {}]], ids=repr)
def test_what_is_no_choice_is_refused_with_the_line_to_write(io) -> None:
    with pytest.raises(InvalidOptionError, match=r'io=\("name", \{"field": value\}\)'):
        text_of(io)


@pytest.mark.parametrize("value", [Opaque(), float("nan"), {1, 2}, "\ud800"], ids=ascii)
def test_a_configuration_that_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidOptionError, match="'lake' must be JSON"):
        text_of(("lake", {"field": value}))
