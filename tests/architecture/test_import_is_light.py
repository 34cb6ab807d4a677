"""``import flowstone`` is quick and brings nothing that is not in the standard library."""

import sys

from tests.architecture.imports import loaded_by, quickest

LIMIT_MS = 80.0


def test_importing_flowstone_loads_nothing_third_party() -> None:
    loaded = {name.partition(".")[0] for name in loaded_by("-c", "import flowstone")}

    assert loaded - sys.stdlib_module_names == {"flowstone"}


def test_importing_flowstone_leaves_the_engine_alone() -> None:
    loaded = loaded_by("-c", "import flowstone")

    assert [name for name in loaded if name.startswith(("flowstone.engine", "flowstone.cli"))] == []


def test_importing_flowstone_takes_at_most_80_ms() -> None:
    def measure() -> float:
        return loaded_by("-c", "import flowstone")["flowstone"]

    assert quickest(measure, limit=LIMIT_MS) <= LIMIT_MS
