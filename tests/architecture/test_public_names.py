"""What ``from flowstone import …`` offers is exactly what it says it offers."""

from types import ModuleType

import flowstone

FIXED = {
    "Cancel",
    "Config",
    "Context",
    "Dep",
    "FlowStone",
    "Pipeline",
    "Requires",
    "Retry",
    "Skip",
    "Snooze",
    "run_sync",
}


def test_the_fixed_names_are_there() -> None:
    assert set(flowstone.__all__) >= FIXED


def test_every_promised_name_exists() -> None:
    assert [name for name in flowstone.__all__ if not hasattr(flowstone, name)] == []


def test_all_lists_every_public_name_in_order() -> None:
    public = {
        name
        for name, value in vars(flowstone).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert public <= set(flowstone.__all__)
    assert list(flowstone.__all__) == sorted(set(flowstone.__all__))
