"""What ``from flowstone import …`` offers is exactly what it says it offers."""

import ast

import pytest

import flowstone
from tests.architecture.sources import PACKAGE

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


def test_the_names_are_listed_once_and_in_order() -> None:
    assert list(flowstone.__all__) == sorted(set(flowstone.__all__))


@pytest.mark.parametrize("name", flowstone.__all__)
def test_the_name_is_what_type_checkers_are_told(name: str) -> None:
    value = getattr(flowstone, name)

    assert value.__name__ == name
    assert _homes()[name] in {value.__module__, value.__module__.rpartition(".")[0]}
    assert name in dir(flowstone)


def test_type_checkers_are_told_of_no_other_names() -> None:
    assert set(_homes()) == set(flowstone.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Pipelin'"):
        getattr(flowstone, "Pipelin")  # noqa: B009


def _homes() -> dict[str, str]:
    """Return where the names come from, as a type checker reads it."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flowstone.")
        for alias in node.names
    }
