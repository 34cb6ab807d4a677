"""What a package adds to an application: the plugin's contract."""

from abc import ABC, abstractmethod
from typing import ClassVar

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Health


class Plugin(ABC):
    """
    Registers implementations with an application.

    A plugin is found by its entry point in the group ``flowstone.plugins``, which names an instance
    or a class without arguments. Obligations: importing its module has no effect beyond defining
    things, and needs no other plugin; `register` keeps no state outside the registries it is given,
    and may be called for several applications.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of its entry point; a class attribute will do."""

    @abstractmethod
    def register(self, registries: Registries) -> None:
        """Add what the plugin brings; called once per application, before it opens."""

    async def health_check(self, app: Host) -> Health:
        """
        Return whether the plugin works in an open application; the default trusts it.

        An exception, and no answer in ten seconds, are unhealthy too.
        """
        return Health.healthy()
