"""
Finding plugins and adding them to an application.

Names are read from the installed packages without importing any of them; a plugin is imported when
it is loaded by name, and only that one.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.errors import FlowStoneError, MissingExtraError, NotRegisteredError, PluginError
from flowstone.core.errors.root import reason_text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "flowstone.plugins"


def discover() -> Mapping[str, "EntryPoint"]:
    """
    Return the installed plugins' entry points by name; nothing is imported.

    Raises:
        PluginError: Two packages bring a plugin of the same name.
    """
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two plugins are called '{point.name}': {other.value} and {point.value}"
            )
    return found


def load(name: str, among: Mapping[str, "EntryPoint"] | None = None) -> Plugin:
    """
    Import one plugin.

    Args:
        name: The name of its entry point.
        among: The entry points to choose from; None is all that are installed.

    Raises:
        NotRegisteredError: No installed package brings it.
        MissingExtraError: It needs packages that are not installed.
        PluginError: Importing it failed, or it is not a `Plugin`.
        IncompatiblePluginError: It was written for another version of the contract.
    """
    points = discover() if among is None else among
    try:
        point = points[name]
    except KeyError:
        raise NotRegisteredError("plugin", name, points) from None
    try:
        loaded = point.load()
        plugin = loaded() if isinstance(loaded, type) else loaded
    except FlowStoneError:
        raise
    except ModuleNotFoundError as error:
        if point.extras and not _is_own(error.name, point):
            distribution = point.dist.name if point.dist else "flowstone"
            raise MissingExtraError(name, point.extras[0], distribution=distribution) from error
        raise PluginError(f"plugin '{name}' cannot be imported: {reason_text(error)}") from error
    except Exception as error:
        raise PluginError(f"plugin '{name}' cannot be imported: {reason_text(error)}") from error
    return check(plugin, name=name)


def check(plugin: object, *, name: str | None = None) -> Plugin:
    """
    Return the plugin if it is one.

    Args:
        name: What its entry point is called; None for one that was passed as an object.

    Raises:
        PluginError: It is not a `Plugin`, or calls itself otherwise than its entry point.
        IncompatiblePluginError: It was written for another version of the contract.
    """
    if not isinstance(plugin, Plugin):
        raise PluginError(f"{name or plugin!r} is not a Plugin but a {type(plugin).__qualname__}")
    subject = f"plugin '{plugin.name}'"
    check_implementation(plugin, Plugin, subject=subject)
    if name is not None and plugin.name != name:
        raise PluginError(f"{subject} is installed under another name: '{name}'")
    return plugin


def install(plugins: Iterable[Plugin], registries: Registries) -> None:
    """
    Let each plugin register what it brings, in this order.

    Raises:
        PluginError: Two have the same name, or one failed; the registries are then of no use.
    """
    names: set[str] = set()
    for plugin in map(check, plugins):
        if plugin.name in names:
            raise PluginError(f"plugin '{plugin.name}' is given twice")
        names.add(plugin.name)
        try:
            plugin.register(registries)
        except Exception as error:
            raise PluginError(
                f"plugin '{plugin.name}' cannot be registered: {reason_text(error)}"
            ) from error


def _is_own(missing: str | None, point: "EntryPoint") -> bool:
    """Whether the module that is missing is the plugin's own, which no extra would bring."""
    return missing is not None and f"{point.module}.".startswith(f"{missing}.")
