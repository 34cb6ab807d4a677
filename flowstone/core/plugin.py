"""
Finding plugins and adding them to an application.

Names are read from the installed packages without importing any of them; a plugin is imported when
it is loaded by name, and only that one. So a broken plugin harms those who ask for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.errors import FlowStoneError, MissingExtraError, NotRegisteredError, PluginError
from flowstone.core.errors.root import reason_text
from flowstone.core.pipeline import Pipeline

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "flowstone.plugins"


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """
    A plugin that an application uses.

    Attributes:
        registered: The names that it added, by kind: ``{"IO managers": ["lake"]}``.
    """

    plugin: Plugin
    registered: Mapping[str, Sequence[str]]

    @property
    def name(self) -> str:
        """The name of its entry point."""
        return self.plugin.name

    @property
    def has_health_check(self) -> bool:
        """Whether it has more to say of its health than that it is trusted."""
        return type(self.plugin).health_check is not Plugin.health_check

    @property
    def contract_version(self) -> str:
        """The version of the plugin contract that it was written for."""
        return self.plugin.contract_version

    @property
    def version(self) -> str | None:
        """The version of the package that brings it; None when it was passed as an object."""
        package = type(self.plugin).__module__.partition(".")[0]
        for point in _points().get(self.name, ()):
            if point.dist is not None and point.module.partition(".")[0] == package:
                return point.dist.version
        return None


def discover() -> Mapping[str, "EntryPoint"]:
    """Return the installed plugins' entry points by name; nothing is imported."""
    return {name: points[0] for name, points in _points().items()}


def _points() -> Mapping[str, list["EntryPoint"]]:
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        others = found.setdefault(point.name, [])
        if all(other.value != point.value for other in others):
            others.append(point)
    return found


def load(name: str) -> Plugin:
    """
    Import one plugin.

    Args:
        name: The name of its entry point.

    Raises:
        NotRegisteredError: No installed package brings it.
        MissingExtraError: It needs packages that are not installed.
        PluginError: Two packages bring one of this name, importing it failed, or it is not a
            `Plugin`.
        IncompatiblePluginError: It was written for another version of the contract.
    """
    points = _points()
    try:
        point, *others = points[name]
    except KeyError:
        raise NotRegisteredError("plugin", name, points) from None
    if others:
        values = " and ".join(it.value for it in (point, *others))
        raise PluginError(f"two plugins are called '{name}': {values}; uninstall one of them")
    try:
        loaded = point.load()
        plugin = loaded() if isinstance(loaded, type) else loaded
    except FlowStoneError:
        raise
    except ModuleNotFoundError as error:
        if point.extras and not _is_own(error.name, point):
            distribution = point.dist.name if point.dist else "flowstone"
            raise MissingExtraError(name, point.extras[0], distribution=distribution) from error
        raise _import_error(point, error) from error
    except (Exception, SystemExit) as error:
        raise _import_error(point, error) from error
    return check(plugin, name=name)


def _import_error(point: "EntryPoint", error: BaseException) -> PluginError:
    source = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    what = f"plugin '{point.name}'{source} cannot be imported ({point.value})"
    return PluginError(f"{what}: {reason_text(error)}")


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


def install(plugins: Iterable[Plugin], registries: Registries) -> list[InstalledPlugin]:
    """
    Let each plugin register what it brings, in this order, and return what that was.

    Raises:
        PluginError: Two have the same name, or one failed; the registries are then of no use.
    """
    installed: dict[str, InstalledPlugin] = {}
    for plugin in map(check, plugins):
        if plugin.name in installed:
            raise PluginError(f"plugin '{plugin.name}' is given twice")
        before = registries.names()
        try:
            plugin.register(registries)
        except Exception as error:
            raise PluginError(
                f"plugin '{plugin.name}' cannot be registered: {reason_text(error)}"
            ) from error
        registered = {
            kind: [name for name in names if name not in before[kind]]
            for kind, names in registries.names().items()
        }
        installed[plugin.name] = InstalledPlugin(
            plugin, {kind: names for kind, names in registered.items() if names}
        )
    return list(installed.values())


def of_strategies(pipelines: Iterable[Pipeline], given: Sequence[Plugin]) -> list[Plugin]:
    """Load the plugins that the assets' strategies belong to, apart from those that are given."""
    known = {plugin.name for plugin in given if isinstance(plugin, Plugin)}
    wanted: dict[str, None] = {}
    for pipeline in pipelines:
        for asset in pipeline.assets:
            strategy = asset.strategy
            while strategy is not None:
                name = getattr(strategy, "plugin", None)
                if name is not None and name not in known:
                    wanted[name] = None
                strategy = getattr(strategy, "inner", None)
    return [load(name) for name in wanted]


def _is_own(missing: str | None, point: "EntryPoint") -> bool:
    """Whether the module that is missing is the plugin's own, which no extra would bring."""
    return missing is not None and f"{point.module}.".startswith(f"{missing}.")
