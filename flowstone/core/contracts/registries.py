"""
Everything that a plugin can add to an application.

Each application has its own set; there is none at module level, so two applications live side by
side in one process.
"""

from dataclasses import dataclass, field

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.store import Store
from flowstone.core.registry import Registry
from flowstone.core.telemetry_catalogue import Catalogue


def _io_managers() -> Registry[IOManager]:
    return Registry("IO manager", contract=IOManager)


def _stores() -> Registry[Store]:
    return Registry("store", contract=Store)


@dataclass(slots=True)
class Registries:
    """
    The registries of one application.

    Attributes:
        io: IO managers by the name that ``io=`` uses.
        stores: What makes a store, by the scheme of the DSN (``postgresql``).
        events: The telemetry events that there are.
        normalizer: What foreign exceptions become.
    """

    io: Registry[IOManager] = field(default_factory=_io_managers)
    stores: Registry[Store] = field(default_factory=_stores)
    events: Catalogue = field(default_factory=Catalogue)
    normalizer: ErrorNormalizer = field(default_factory=ErrorNormalizer)
