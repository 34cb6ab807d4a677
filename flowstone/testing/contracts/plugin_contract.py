"""What every plugin has to do."""

import json
import subprocess
import sys

import pytest

from flowstone.core import plugin as plugins
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.errors import PluginError

_IMPORTED = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


class PluginContract:
    """
    Subclass it with the fixture ``plugin``.

    ``other_plugins`` are prefixes of modules that importing the plugin must not bring in.
    """

    other_plugins: tuple[str, ...] = ()

    @pytest.fixture
    def plugin(self) -> Plugin:
        """Give the plugin."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `plugin`")

    def test_it_is_a_plugin_of_this_contract(self, plugin: Plugin) -> None:
        assert plugins.check(plugin) is plugin
        assert plugin.name

    def test_it_registers_something(self, plugin: Plugin) -> None:
        untouched, registries = Registries(), Registries()

        plugins.install([plugin], registries)

        assert registries.names() != untouched.names()

    def test_two_applications_can_use_it(self, plugin: Plugin) -> None:
        first, second = Registries(), Registries()

        plugins.install([plugin], first)
        plugins.install([plugin], second)

        assert first.names() == second.names()

    def test_one_application_uses_it_once(self, plugin: Plugin) -> None:
        with pytest.raises(PluginError):
            plugins.install([plugin, plugin], Registries())

    def test_importing_it_imports_no_other_plugin(self, plugin: Plugin) -> None:
        module = type(plugin).__module__
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTED, module],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        imported = json.loads(done.stdout)
        others = [
            name
            for name in imported
            if name.startswith(("flowstone.plugins.", *self.other_plugins))
            and name.split(".")[2:3] != module.split(".")[2:3]
        ]
        assert others == []
