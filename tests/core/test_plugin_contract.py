import pytest

from flowstone.core import registries as application
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.telemetry_catalogue import EventSpec
from flowstone.testing.contracts.plugin_contract import PluginContract

MODULE = """
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.defaults.memory_io import MemoryIO

class Lake(Plugin):
    name = "lake"

    def register(self, registries):
        registries.io.register("lake", MemoryIO)
"""


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self, tmp_path, monkeypatch) -> Plugin:
        (tmp_path / "packaged_lake.py").write_text(MODULE)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        import packaged_lake

        return packaged_lake.Lake()


def test_a_plugin_reaches_every_registry() -> None:
    class Everything(Plugin):
        name = "everything"

        def register(self, registries: Registries) -> None:
            registries.io.register("shelf", MemoryIO)
            registries.events.add(EventSpec("shelf.full", ("count",), (), "No room is left"))
            registries.normalizer.mark_retryable(LookupError)

    registries = Registries()

    Everything().register(registries)

    assert "shelf" in registries.io
    assert "shelf.full" in registries.events
    assert registries.normalizer.normalize(KeyError()).retryable


@pytest.mark.conformance(506)
def test_the_default_io_manager_is_memory_with_no_configuration() -> None:
    registries = application.in_memory()

    assert registries.io.default() == (MemoryIO, {})
    assert isinstance(registries.io.instance("default"), MemoryIO)
