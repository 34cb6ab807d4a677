"""
Everything that a plugin can add to an application.

Each application has its own set; there is none at module level, so two applications live side by
side in one process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.cron_parser import CronParser
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.contracts.item_source import AnyReader
from flowstone.core.contracts.resource import AnyResource, Configured
from flowstone.core.contracts.service import Service
from flowstone.core.contracts.store import Store
from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import AlreadyRegisteredError, NotRegisteredError, RegistrationError
from flowstone.core.registry import Registry
from flowstone.core.telemetry_catalogue import Catalogue

C = TypeVar("C", bound=Coordinator)


def _io_managers() -> Registry[IOManager]:
    return Registry("IO manager", contract=IOManager)


def _readers() -> Registry[AnyReader]:
    return Registry("item reader", contract=ItemReader)


def _stores() -> Registry[Store]:
    return Registry("store", contract=Store)


def _codecs() -> Registry[Codec]:
    return Registry("codec", contract=Codec)


def _cron_parsers() -> Registry[CronParser]:
    return Registry("cron parser", contract=CronParser)


def _services() -> Registry[Service]:
    return Registry("background service", contract=Service)


def _tables() -> Registry[Tables]:
    return Registry("set of tables", contract=Tables)


class ResourceRegistry:
    """Resources by the type that assets ask for; what an application is given goes before them."""

    def __init__(self) -> None:
        self._entries: dict[type, Configured] = {}

    def register(
        self, kind: type, resource: AnyResource, config: Mapping[str, object] | None = None
    ) -> None:
        """
        Say what ``Requires(kind)`` gives.

        Raises:
            AlreadyRegisteredError: Another is registered for the type.
        """
        if kind in self._entries:
            raise AlreadyRegisteredError("resource", kind.__qualname__)
        self._entries[kind] = (resource, config or {})

    @property
    def entries(self) -> Mapping[type, Configured]:
        """What is registered, by type."""
        return MappingProxyType(self._entries)

    def list(self) -> list[str]:
        """Return the names of the types, sorted."""
        return sorted(kind.__qualname__ for kind in self._entries)


class CoordinatorRegistry:
    """What plugins bring, by contract: one for a store in memory, one for a durable store."""

    def __init__(self) -> None:
        self._entries: dict[type[Coordinator], tuple[Callable[..., Coordinator], ...]] = {}

    def register(
        self, contract: Callable[..., C], *, memory: Callable[[], C], durable: Callable[[], C]
    ) -> None:
        """
        Bring a contract's two implementations, by their classes.

        Raises:
            AlreadyRegisteredError: Somebody has brought it before.
            RegistrationError: One of them is a class of something else.
            IncompatiblePluginError: One was written for another version of the contract.
        """
        if not (isinstance(contract, type) and issubclass(contract, Coordinator)):
            raise RegistrationError(f"{contract!r} is no contract of coordinators")
        if contract in self._entries:
            raise AlreadyRegisteredError("coordinator", contract.__qualname__)
        for implementation in (memory, durable):
            check_coordinator(implementation, contract)
        self._entries[contract] = (memory, durable)

    def find(self, contract: type[Coordinator], *, is_durable: bool) -> Callable[..., Coordinator]:
        """
        Return what makes one.

        Raises:
            NotRegisteredError: No plugin in use has brought the contract.
        """
        try:
            return self._entries[contract][is_durable]
        except KeyError:
            raise NotRegisteredError("coordinator", contract.__qualname__, self.list()) from None

    @property
    def contracts(self) -> tuple[type[Coordinator], ...]:
        """The contracts that were brought."""
        return tuple(self._entries)

    def list(self) -> list[str]:
        """Return the names of the contracts, sorted."""
        return sorted(contract.__qualname__ for contract in self._entries)


def check_coordinator(given: object, contract: type[Coordinator]) -> None:
    """
    Refuse what is given for a contract of coordinators and cannot be one.

    Raises:
        RegistrationError: It is a class of something else, or nothing that makes one.
        IncompatiblePluginError: It was written for another version of the contract.
    """
    fits = issubclass(given, contract) if isinstance(given, type) else callable(given)
    if not fits:
        raise RegistrationError(
            f"what is given as {contract.__qualname__} must be a class of it, or make one; "
            f"it is {given!r}"
        )
    check_implementation(given, contract, subject=f"the {contract.__qualname__}")


@dataclass(slots=True)
class Registries:
    """
    The registries of one application.

    Attributes:
        io: IO managers by the name that ``io=`` uses.
        readers: Item readers by the name that ``reader("name")`` uses.
        stores: What makes a store, by the scheme of the DSN (``postgresql``).
        codecs: Codecs by the name that ``codec=`` uses; ``default`` replaces the built-in one.
        cron_parsers: What reads cron expressions; ``default`` replaces that of the plugin ``cron``.
        resources: What ``Requires(Type)`` gives where the application itself says nothing.
        services: What runs beside the work in the application's workers.
        coordinators: What keeps the state of kinds of assets, by contract.
        tables: Migrations of tables in the application's schema.
        events: The telemetry events that there are.
        normalizer: What foreign exceptions become.
    """

    io: Registry[IOManager] = field(default_factory=_io_managers)
    readers: Registry[AnyReader] = field(default_factory=_readers)
    stores: Registry[Store] = field(default_factory=_stores)
    codecs: Registry[Codec] = field(default_factory=_codecs)
    cron_parsers: Registry[CronParser] = field(default_factory=_cron_parsers)
    resources: ResourceRegistry = field(default_factory=ResourceRegistry)
    services: Registry[Service] = field(default_factory=_services)
    coordinators: CoordinatorRegistry = field(default_factory=CoordinatorRegistry)
    tables: Registry[Tables] = field(default_factory=_tables)
    events: Catalogue = field(default_factory=Catalogue)
    normalizer: ErrorNormalizer = field(default_factory=ErrorNormalizer)

    def names(self) -> Mapping[str, list[str]]:
        """Return what is registered, by kind."""
        return {
            "IO managers": self.io.list(),
            "item readers": self.readers.list(),
            "stores": self.stores.list(),
            "codecs": self.codecs.list(),
            "cron parsers": self.cron_parsers.list(),
            "resources": self.resources.list(),
            "services": self.services.list(),
            "coordinators": self.coordinators.list(),
            "tables": self.tables.list(),
            "events": [spec.name for spec in self.events],
            "errors": self.normalizer.known(),
        }
