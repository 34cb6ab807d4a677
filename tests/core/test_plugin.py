import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from flowstone.core import plugin as plugins
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.errors import (
    IncompatiblePluginError,
    MissingExtraError,
    NotRegisteredError,
    PluginError,
)


class Shelf(IOManager):
    async def store(self, address, value): ...
    async def load(self, location, annotation=object): ...
    async def exists(self, location): ...
    async def delete(self, location): ...


class Shelves(Plugin):
    name = "shelves"

    def register(self, registries: Registries) -> None:
        registries.io.register("shelf", Shelf)


shelves = Shelves()
not_a_plugin = object()


def installed(monkeypatch, **values: str) -> None:
    """Have the packages of this environment bring these plugins and no others."""
    points = [EntryPoint(name, value, plugins.GROUP) for name, value in values.items()]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points)


@pytest.fixture
def importable(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)

    return write


SOURCE = """
from flowstone.core.contracts.plugin import Plugin

class Shelves(Plugin):
    name = "shelves"
    {extra}
    def register(self, registries):
        registries.io.register("shelf", object)

plugin = Shelves()
"""


class TestFinding:
    def test_names_are_read_without_importing_anything(self, monkeypatch, importable) -> None:
        importable("plugin_unread", "raise AssertionError('imported')")
        installed(monkeypatch, unread="plugin_unread:plugin")

        assert list(plugins.discover()) == ["unread"]
        assert "plugin_unread" not in sys.modules

    def test_two_plugins_of_one_name_are_refused_and_harm_no_other(
        self, monkeypatch, importable
    ) -> None:
        importable("plugin_third", SOURCE.format(extra=""))
        given = {"x": "a:p", "shelves": "plugin_third:plugin"}
        points = [EntryPoint("x", "b:p", plugins.GROUP)]
        points += [EntryPoint(name, value, plugins.GROUP) for name, value in given.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points)

        with pytest.raises(PluginError, match="b:p and a:p; uninstall one"):
            plugins.load("x")
        assert plugins.load("shelves").name == "shelves"

    def test_the_engine_is_found_by_the_scheme_of_its_dsn(self) -> None:
        assert "postgresql" in plugins.discover()


class TestLoading:
    @pytest.mark.parametrize("attribute", ["plugin", "Shelves"])
    def test_an_instance_or_a_class_is_loaded_by_name(
        self, monkeypatch, importable, attribute
    ) -> None:
        module = f"plugin_good_{attribute.lower()}"
        importable(module, SOURCE.format(extra=""))
        installed(monkeypatch, shelves=f"{module}:{attribute}", other="plugin_absent:plugin")

        assert plugins.load("shelves").name == "shelves"

    def test_an_unknown_name_lists_the_installed_ones(self, monkeypatch) -> None:
        installed(monkeypatch, shelves="a:plugin")

        with pytest.raises(NotRegisteredError, match="Did you mean 'shelves'"):
            plugins.load("shelvs")

    def test_packages_that_are_missing_are_named_by_the_extra(
        self, monkeypatch, importable
    ) -> None:
        importable("plugin_s3", "import package_that_is_not_installed")
        installed(monkeypatch, io_s3="plugin_s3:plugin [s3]")

        with pytest.raises(MissingExtraError) as caught:
            plugins.load("io_s3")

        assert str(caught.value) == "io_s3 needs: pip install 'flowstone[s3]'"

    @pytest.mark.parametrize(
        "source", ["raise ValueError('boom')", "import package_that_is_not_installed", "x = 1"]
    )
    def test_a_plugin_that_cannot_be_imported_is_named(
        self, monkeypatch, importable, source, request
    ) -> None:
        module = f"plugin_broken_{abs(hash(request.node.name))}"
        importable(module, source)
        installed(monkeypatch, broken=f"{module}:plugin")

        with pytest.raises(PluginError, match="broken"):
            plugins.load("broken")

    def test_something_else_is_refused(self, monkeypatch, importable) -> None:
        importable("plugin_other", "plugin = object()")
        installed(monkeypatch, other="plugin_other:plugin")

        with pytest.raises(PluginError, match="not a Plugin"):
            plugins.load("other")

    def test_a_plugin_that_calls_itself_otherwise_is_refused(self, monkeypatch, importable) -> None:
        importable("plugin_renamed", SOURCE.format(extra=""))
        installed(monkeypatch, shelf="plugin_renamed:plugin")

        with pytest.raises(PluginError, match="another name"):
            plugins.load("shelf")

    @pytest.mark.conformance(512)
    def test_a_plugin_for_another_contract_is_refused(self, monkeypatch, importable) -> None:
        importable("plugin_old", SOURCE.format(extra='contract_version = "0.9.0"'))
        installed(monkeypatch, shelves="plugin_old:plugin")

        with pytest.raises(IncompatiblePluginError, match=r"0\.9\.0"):
            plugins.load("shelves")


class TestInstalling:
    def test_each_application_gets_its_own_entries(self) -> None:
        mine, other = Registries(), Registries()

        plugins.install([shelves], mine)

        assert "shelf" in mine.io
        assert "shelf" not in other.io

    def test_one_plugin_twice_is_refused(self) -> None:
        with pytest.raises(PluginError, match="twice"):
            plugins.install([shelves, Shelves()], Registries())

    def test_two_plugins_for_one_name_are_refused_by_the_second_plugins_name(self) -> None:
        class Others(Shelves):
            name = "others"

        with pytest.raises(PluginError, match=r"'others' cannot be registered.*'shelf'"):
            plugins.install([shelves, Others()], Registries())

    def test_what_is_no_plugin_is_refused(self) -> None:
        with pytest.raises(PluginError, match="not a Plugin"):
            plugins.install([not_a_plugin], Registries())


def test_importing_the_contract_brings_in_no_third_party_module() -> None:
    code = (
        "import sys; before = set(sys.modules); import flowstone.core.plugin, "
        "flowstone.core.resources; new = {m.split('.')[0] for m in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names) - {'flowstone'}))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"
