"""The coordinators of one application: one instance a contract, made for its store."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.errors import (
    AlreadyRegisteredError,
    InvalidOptionError,
    NotRegisteredError,
    RegistrationError,
)

if TYPE_CHECKING:
    from flowstone.core.contracts.host import Host

C = TypeVar("C", bound=Coordinator)

CoordinatorEntry: TypeAlias = (
    Callable[..., Coordinator] | tuple[Callable[..., Coordinator], Mapping[str, object]]
)
"""A class, or what makes one, alone or with its configuration."""

KIND = "coordinator"


class CoordinatorRegistry:
    """What plugins bring, by contract: one for a store in memory, one for a durable store."""

    def __init__(self) -> None:
        self._entries: dict[type[Coordinator], tuple[Callable[..., Coordinator], ...]] = {}

    def register(
        self, contract: type[C], *, memory: Callable[[], C], durable: Callable[[], C]
    ) -> None:
        """
        Bring a contract's two implementations, by their classes.

        Raises:
            AlreadyRegisteredError: Somebody has brought it before.
            RegistrationError: One of them is a class of something else.
            IncompatiblePluginError: One was written for another version of the contract.
        """
        if contract in self._entries:
            raise AlreadyRegisteredError(KIND, contract.__qualname__)
        for implementation in (memory, durable):
            _check(implementation, contract)
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
            raise NotRegisteredError(KIND, contract.__qualname__, self.list()) from None

    @property
    def contracts(self) -> tuple[type[Coordinator], ...]:
        """The contracts that were brought."""
        return tuple(self._entries)

    def list(self) -> list[str]:
        """Return the names of the contracts, sorted."""
        return sorted(contract.__qualname__ for contract in self._entries)


class Coordinators:
    """
    What strategies get for ``execution.coordinator(Contract)``.

    Args:
        registry: What plugins bring.
        given: What the application puts in the place of it, by contract.
        is_durable: Whether the application's store is.

    Raises:
        RegistrationError: An entry is none, or of something else.
        InvalidOptionError: An implementation refuses its configuration.
    """

    def __init__(
        self,
        registry: CoordinatorRegistry,
        given: Mapping[type[Coordinator], CoordinatorEntry],
        *,
        is_durable: bool,
    ) -> None:
        self._instances: dict[type[Coordinator], Coordinator] = {}
        for contract in (
            *registry.contracts,
            *(it for it in given if it not in registry.contracts),
        ):
            entry = given.get(contract) or registry.find(contract, is_durable=is_durable)
            self._instances[contract] = _made(contract, entry)

    def get(self, contract: type[C]) -> C:
        """
        Return the application's.

        Raises:
            NotRegisteredError: It has none of this contract.
        """
        found = self._instances.get(contract)
        if found is None:
            known = [it.__qualname__ for it in self._instances]
            raise NotRegisteredError(KIND, contract.__qualname__, known)
        assert isinstance(found, contract), "checked when it was made"
        return found

    async def open(self, app: "Host") -> None:
        """Make all of them ready; when one fails, those before it are closed again."""
        try:
            for coordinator in self._instances.values():
                await coordinator.open(app)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all of them, the last first; safe to call twice."""
        for coordinator in reversed(self._instances.values()):
            await coordinator.close()


def _made(contract: type[Coordinator], entry: CoordinatorEntry) -> Coordinator:
    make, config = entry if isinstance(entry, tuple) else (entry, {})
    _check(make, contract)
    try:
        made: object = make(**config)
    except TypeError as error:
        raise InvalidOptionError(
            f"the {contract.__qualname__} refused its options ({', '.join(config)}): {error}"
        ) from error
    if not isinstance(made, contract):
        raise RegistrationError(
            f"what is given as {contract.__qualname__} made a {type(made).__qualname__}"
        )
    return made


def _check(given: object, contract: type[Coordinator]) -> None:
    fits = issubclass(given, contract) if isinstance(given, type) else callable(given)
    if not fits:
        raise RegistrationError(
            f"what is given as {contract.__qualname__} must be a class of it, or make one; "
            f"it is {given!r}"
        )
    check_implementation(given, contract, subject=f"the {contract.__qualname__}")
