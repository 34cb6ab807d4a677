"""Errors of what is registered and found by name: implementations and plugins."""

from collections.abc import Iterable

from flowstone.core.errors.root import FlowStoneError, unknown
from flowstone.core.suggestion import suggest


class RegistrationError(FlowStoneError):
    """Something could not be registered or found by name."""

    code = "registration_error"


class NotRegisteredError(RegistrationError):
    """
    Nothing is registered under this name.

    Attributes:
        registry: What kind of thing was looked for, such as "IO manager".
        name: What was asked for.
        known: The names that there are.
        suggestion: The one that was probably meant, or None.
    """

    code = "not_registered"

    def __init__(self, registry: str, name: str, known: Iterable[str] = ()) -> None:
        self.registry = registry
        self.name = name
        self.known = tuple(sorted(known))
        self.suggestion = suggest(name, self.known)
        super().__init__(
            unknown(f"no {registry} is registered as '{name}'", self.known, self.suggestion),
            context={"registry": registry, "name": name, "known": list(self.known)},
        )


class AlreadyRegisteredError(RegistrationError):
    """The name is taken."""

    code = "already_registered"

    def __init__(self, registry: str, name: str) -> None:
        self.registry = registry
        self.name = name
        super().__init__(
            f"{registry} '{name}' is registered already; pass replace=True to take its place",
            context={"registry": registry, "name": name},
        )


class PluginError(RegistrationError):
    """A plugin cannot be used."""

    code = "plugin_error"


class IncompatiblePluginError(PluginError):
    """An implementation was written for another version of its contract."""

    code = "incompatible_version"


class MissingExtraError(PluginError):
    """A plugin needs packages that are not installed."""

    code = "missing_extra"

    def __init__(self, plugin: str, extra: str, *, distribution: str = "flowstone") -> None:
        self.plugin = plugin
        self.extra = extra
        super().__init__(
            f"{plugin} needs: pip install '{distribution}[{extra}]'",
            context={"plugin": plugin, "extra": extra},
        )
