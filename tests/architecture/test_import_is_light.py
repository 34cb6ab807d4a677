"""``import flowstone`` is quick and brings nothing that is not in the standard library."""

from tests.architecture.imports import import_ms, is_quick, loaded_by, third_party


def test_importing_flowstone_loads_nothing_third_party() -> None:
    assert third_party(loaded_by("-c", "import flowstone")) == {"flowstone"}


def test_importing_flowstone_leaves_the_engine_alone() -> None:
    loaded = loaded_by("-c", "import flowstone")

    assert [name for name in loaded if name.startswith(("flowstone.engine", "flowstone.cli"))] == []


def test_importing_flowstone_takes_at_most_80_ms() -> None:
    assert is_quick(lambda: import_ms("flowstone"), limit_ms=80)
