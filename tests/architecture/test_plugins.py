"""A plugin is a folder, an entry point of the same name, and tests; each is imported alone."""

import re
import tomllib
from pathlib import Path

import pytest

from flowstone.core import plugin as plugins
from tests.architecture.imports import loaded_by, third_party
from tests.architecture.sources import PACKAGE, ROOT, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRIES: dict[str, str] = PROJECT["entry-points"][plugins.GROUP]
FOLDERS = sorted(it.parent.name for it in (PACKAGE / "plugins").glob("*/__init__.py"))


def test_every_plugin_has_an_entry_point_and_every_entry_point_a_plugin() -> None:
    ours = {
        name: value for name, value in ENTRIES.items() if not value.startswith("flowstone.engine.")
    }

    assert ours == {name: f"flowstone.plugins.{name}.plugin:plugin" for name in FOLDERS}


def test_what_is_installed_names_the_same_plugins() -> None:
    installed = {name: it.value for name, it in plugins.discover().items()}

    missing = {name: value for name, value in ENTRIES.items() if installed.get(name) != value}
    assert missing == {}, "the installation is older than pyproject.toml: pip install -e ."


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_loaded_by_its_name(name: str) -> None:
    assert plugins.load(name).name == name


@pytest.mark.parametrize("name", FOLDERS)
def test_without_a_database_it_brings_neither_another_nor_a_driver(name: str) -> None:
    loaded = loaded_by("-c", f"from flowstone import FlowStone; FlowStone([], plugins=['{name}'])")

    if name != "readers_postgres":  # what it reads is a database
        assert third_party(loaded) == {"flowstone"}
    others = {it for it in loaded if it.startswith("flowstone.plugins.")}
    assert {it.split(".")[2] for it in others} == {name}
    assert [it for it in loaded if it.startswith(("flowstone.cli", "flowstone.testing"))] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_it_has_tests_of_its_own(name: str) -> None:
    assert list((ROOT / "tests" / "plugins" / name).glob("test_*.py"))


def test_core_and_engine_name_no_plugin() -> None:
    named = re.compile(rf"plugins\.\w|\b({'|'.join(FOLDERS)})\b")

    assert [str(it) for it in _below("core", "engine") if named.search(it.read_text("utf-8"))] == []


def _below(*folders: str) -> list[Path]:
    return [module for folder in folders for module in modules(PACKAGE / folder)]
