"""``import flowstone`` is quick and brings nothing that is not in the standard library."""

import pytest

from tests.architecture.imports import import_ms, is_quick, loaded_by, third_party

EVERY_NAME = "from flowstone import *"


def test_importing_flowstone_loads_nothing_third_party() -> None:
    assert third_party(loaded_by("-c", "import flowstone")) == {"flowstone"}


def test_using_every_name_loads_nothing_third_party() -> None:
    assert third_party(loaded_by("-c", EVERY_NAME)) == {"flowstone"}


def test_using_every_name_leaves_the_engine_and_the_command_line_alone() -> None:
    above_core = ("flowstone.engine", "flowstone.cli", "flowstone.testing")

    assert [name for name in loaded_by("-c", EVERY_NAME) if name.startswith(above_core)] == []


@pytest.mark.parametrize(
    "statement", ["import flowstone", "from flowstone import Context, Dep, Pipeline, Requires"]
)
def test_what_a_module_of_assets_imports_takes_at_most_80_ms(statement: str) -> None:
    assert is_quick(lambda: import_ms(statement), limit_ms=80)
