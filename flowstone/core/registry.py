"""
Implementations by name, one registry per kind and application.

An entry is an implementation, or an implementation and its configuration. What is configured for a
name is the default that an asset's own configuration is merged over.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeGuard, TypeVar

from flowstone.core.contract_version import check_implementation
from flowstone.core.errors import (
    AlreadyRegisteredError,
    InvalidOptionError,
    NotRegisteredError,
    RegistrationError,
)

T = TypeVar("T")

DEFAULT = "default"


class Entry(NamedTuple, Generic[T]):
    """
    What is registered under a name.

    Attributes:
        implementation: An instance, or what makes one from the configuration.
        config: Keyword arguments for making one.
    """

    implementation: T | Callable[..., T]
    config: Mapping[str, object]


class Registry(Generic[T]):
    """
    Names and what they stand for.

    Args:
        kind: What messages call an entry, such as "IO manager".
        contract: The class that instances belong to; entries are checked against it.
        fallback: What `default` answers with when nothing is registered as ``"default"``.
    """

    def __init__(
        self,
        kind: str,
        *,
        contract: type | None = None,
        fallback: T | Callable[..., T] | None = None,
    ) -> None:
        self.kind = kind
        self._contract = contract
        self._fallback = fallback
        self._entries: dict[str, Entry[T]] = {}
        self._instances: dict[tuple[str, str], T] = {}

    def register(
        self,
        name: str,
        implementation: T | Callable[..., T] | tuple[T | Callable[..., T], Mapping[str, object]],
        config: Mapping[str, object] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """
        Give an implementation a name.

        Args:
            implementation: An instance, a class or function that makes one, or a pair of that and
                its configuration.
            config: The configuration, beside an implementation that is not a pair.
            replace: Take the place of what has this name.

        Raises:
            AlreadyRegisteredError: The name is taken.
            IncompatiblePluginError: Written for another version of the contract.
            InvalidOptionError: The name is empty, or two configurations are given.
            RegistrationError: An instance or class of something else.
        """
        if not isinstance(name, str) or not name:
            raise InvalidOptionError(f"the name of a {self.kind} must be a text, not {name!r}")
        if name in self._entries and not replace:
            raise AlreadyRegisteredError(self.kind, name)
        entry = self._entry(name, implementation, config)
        self._entries[name] = entry
        self._instances = {key: kept for key, kept in self._instances.items() if key[0] != name}

    def resolve(self, name: str) -> Entry[T]:
        """
        Return the entry of a name; ``"default"`` is `default`.

        Raises:
            NotRegisteredError: There is none; the error lists those that there are.
        """
        if name == DEFAULT:
            return self.default()
        return self._found(name)

    def resolve_with_config(self, name: str, config: Mapping[str, object]) -> Entry[T]:
        """Return the entry of a name with ``config`` merged over its own configuration."""
        entry = self.resolve(name)
        return Entry(entry.implementation, _frozen({**entry.config, **config}))

    def default(self) -> Entry[T]:
        """
        Return the entry named ``"default"``, or else the fallback with no configuration.

        Raises:
            NotRegisteredError: There is neither.
        """
        if DEFAULT not in self._entries and self._fallback is not None:
            return Entry(self._fallback, _frozen({}))
        return self._found(DEFAULT)

    def instance(self, name: str, config: Mapping[str, object] | None = None) -> T:
        """
        Return a ready instance: the registered one, or one made from the merged configuration.

        One is made per name and configuration, and kept.

        Raises:
            NotRegisteredError: There is no such name.
            InvalidOptionError: The configuration is not JSON-safe, or is given for an entry that is
                an instance already, or making one refused it.
        """
        entry = self.resolve_with_config(name, config or {})
        key = (name, self._config_text(name, config or {}))
        if key not in self._instances:
            self._instances[key] = self._made(name, entry)
        return self._instances[key]

    def check_options(self, name: str, config: Mapping[str, object]) -> None:
        """
        Compare the merged configuration with what making an instance takes; nothing is made.

        Raises:
            NotRegisteredError: There is no such name.
            InvalidOptionError: An option is missing, or is not known.
        """
        implementation, given = self.resolve_with_config(name, config)
        if self._is_instance(implementation) or not callable(implementation):
            return
        try:
            takes = inspect.signature(implementation)
        except (TypeError, ValueError):
            return  # written in C: it says itself what it takes, when one is made
        try:
            takes.bind(**given)
        except TypeError as error:
            raise self._refused(name, given, takes, error) from error

    def list(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._entries)

    def _found(self, name: str) -> Entry[T]:
        try:
            return self._entries[name]
        except KeyError:
            raise NotRegisteredError(self.kind, name, self._entries) from None

    def _entry(
        self,
        name: str,
        implementation: T | Callable[..., T] | tuple[T | Callable[..., T], Mapping[str, object]],
        config: Mapping[str, object] | None,
    ) -> Entry[T]:
        given = implementation
        if isinstance(given, tuple):
            if config is not None or len(given) != 2 or not isinstance(given[1], Mapping):
                raise InvalidOptionError(
                    f"{self.kind} '{name}' must be an implementation, or (implementation, config)"
                )
            given, config = given
        subject = f"{self.kind} '{name}'"
        if self._contract is not None:
            if not self._fits(given, self._contract):
                raise RegistrationError(
                    f"{subject} must be a {self._contract.__qualname__}, or make one; "
                    f"it is a {type(given).__qualname__}"
                )
            check_implementation(given, self._contract, subject=subject)
        return Entry(given, _frozen(config or {}))

    @staticmethod
    def _fits(given: object, contract: type) -> bool:
        if isinstance(given, type):
            return issubclass(given, contract)
        return isinstance(given, contract) or callable(given)

    def _made(self, name: str, entry: Entry[T]) -> T:
        implementation, config = entry
        if self._is_instance(implementation):
            if config:
                raise InvalidOptionError(
                    f"{self.kind} '{name}' is registered as an instance, which takes no "
                    "configuration; register its class instead"
                )
            return implementation
        if not callable(implementation):
            raise RegistrationError(f"{self.kind} '{name}' is neither an instance nor makes one")
        try:
            made: object = implementation(**config)
        except TypeError as error:
            raise InvalidOptionError(
                f"{self.kind} '{name}' refused its options ({', '.join(config)}): {error}"
            ) from error
        if not self._is_instance(made):
            raise RegistrationError(f"{self.kind} '{name}' made a {type(made).__qualname__}")
        return made

    def _refused(
        self, name: str, config: Mapping[str, object], takes: inspect.Signature, why: TypeError
    ) -> InvalidOptionError:
        given = ", ".join(config) or "none"
        return InvalidOptionError(
            f"{self.kind} '{name}': {why}; it was given {given}, and takes "
            f"{', '.join(takes.parameters)}"
        )

    def _is_instance(self, implementation: object) -> TypeGuard[T]:
        if self._contract is None:
            return not callable(implementation)
        return isinstance(implementation, self._contract)

    def _config_text(self, name: str, config: Mapping[str, object]) -> str:
        try:
            return json.dumps(dict(config), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidOptionError(
                f"the configuration of {self.kind} '{name}' must be JSON: {error}"
            ) from error


def _frozen(config: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(config))
