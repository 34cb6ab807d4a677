"""The coordinators of one application: one instance a contract, made for its store."""

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar, cast

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.registries import CoordinatorRegistry, check_coordinator
from flowstone.core.errors import (
    InvalidOptionError,
    NotRegisteredError,
    RegistrationError,
)

T = TypeVar("T")

CoordinatorEntry: TypeAlias = (
    Callable[..., Coordinator] | tuple[Callable[..., Coordinator], Mapping[str, object]]
)
"""A class, or what makes one, alone or with its configuration."""


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

    def get(self, contract: Callable[..., T]) -> T:
        """
        Return the application's.

        Args:
            contract: The contract's class; an abstract one is no ``type[T]`` for checkers, but it
                is something that gives a T.

        Raises:
            NotRegisteredError: It has none of this contract.
        """
        found = next((made for known, made in self._instances.items() if known is contract), None)
        if found is None:
            known = [it.__qualname__ for it in self._instances]
            name = str(getattr(contract, "__qualname__", contract))
            raise NotRegisteredError("coordinator", name, known)
        return cast("T", found)

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        """Return what they have to say of a run's materializations, by id."""
        said: dict[int, str] = {}
        for coordinator in self._instances.values():
            for id_, remark in (await coordinator.remarks(run_id)).items():
                said[id_] = f"{said[id_]}; {remark}" if id_ in said else remark
        return said

    async def open(self, app: Host) -> None:
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
    check_coordinator(make, contract)
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
