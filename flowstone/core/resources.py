"""
The resources of one process: set up when the application opens, ended when it closes.

A resource that cannot be set up harms only the assets that need it: it is logged, told as
``resources.setup_failed``, listed by `Resources.list_failed`, and whoever asks for it gets
`ResourceUnavailableError` with the reason.
"""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.resource import Configured, Health, Resource
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import (
    InvalidOptionError,
    NotRegisteredError,
    ResourceUnavailableError,
    reason_text,
)
from flowstone.core.health import answer_to
from flowstone.core.telemetry import Telemetry

T = TypeVar("T")

_log = logging.getLogger("flowstone.resources")


@dataclass(frozen=True, slots=True)
class Env:
    """
    A placeholder in the configuration of a resource or an item reader for an environment variable.

    It is read when the resource is set up, or reading begins, on the machine that does so.

    Attributes:
        name: The variable.
        default: Taken when it is not set; None means that it must be set.
    """

    name: str
    default: str | None = None

    def look_up(self, environ: Mapping[str, str]) -> str:
        """
        Return the variable's value.

        Raises:
            InvalidOptionError: It is not set, and there is no default.
        """
        found = environ.get(self.name, self.default)
        if found is None:
            raise InvalidOptionError(f"environment variable {self.name} is not set")
        return found


@dataclass(frozen=True, slots=True)
class FailedResource:
    """A resource that could not be set up, and why."""

    name: str
    kind: type
    reason: str


@dataclass(frozen=True, slots=True)
class _Configured:
    name: str
    kind: type
    resource: Resource[Any]
    config: Mapping[str, object]


class Resources:
    """
    What assets get for ``Requires(Type)``.

    Args:
        configured: By the type that assets ask for: a `Resource`, instance or class, or a pair of
            that and its configuration, in which `Env` stands for an environment variable.
        telemetry: Told of failed set-ups.
        environ: Where `Env` is looked up.

    Raises:
        InvalidOptionError: An entry is not a resource.
        IncompatiblePluginError: A resource was written for another version of the contract.
    """

    def __init__(
        self,
        configured: Mapping[type, Configured] | None = None,
        *,
        telemetry: TelemetryEmitter | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._configured = {
            kind: _configured(kind, entry) for kind, entry in (configured or {}).items()
        }
        self._telemetry: TelemetryEmitter = Telemetry() if telemetry is None else telemetry
        self._environ = environ
        self._owned: dict[type, object] = {}
        self._failed: dict[type, FailedResource] = {}
        self._overrides: list[Mapping[type, object]] = []

    async def open(self) -> None:
        """
        Set up all of them, concurrently. Returns when each has a value or has failed.

        Opening again sets up what has no value yet. When it is cancelled, what was set up is ended.
        """
        waiting = [entry for kind, entry in self._configured.items() if kind not in self._owned]
        self._failed.clear()
        try:
            async with asyncio.TaskGroup() as group:
                for entry in waiting:
                    group.create_task(self._set_up(entry), name=f"set up {entry.name}")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all of them, the last configured first; each once. Errors are logged."""
        for kind, entry in reversed(self._configured.items()):
            if kind not in self._owned:
                continue
            try:
                await entry.resource.teardown(self._owned.pop(kind))
            except Exception:
                _log.exception("resource %s could not be torn down", entry.name)

    def get(self, kind: type[T]) -> T:
        """
        Return the value for a type.

        Raises:
            ResourceUnavailableError: Its set-up failed, or the application is not open.
            NotRegisteredError: Nothing is configured for this type.
        """
        values = self._overrides[-1] if self._overrides else self._owned
        if kind in values:
            value: T = values[kind]  # type: ignore[assignment]  # configured under its type
            return value
        name = _name(kind)
        if self._overrides:
            raise NotRegisteredError("resource", name, map(_name, values))
        if kind in self._failed:
            reason = self._failed[kind].reason
            raise ResourceUnavailableError(
                f"resource {name} is not available: {reason}",
                context={"resource": name, "reason": reason},
            )
        if kind in self._configured:
            raise ResourceUnavailableError(
                f"resource {name} is not available: it is not set up; open the application first",
                context={"resource": name},
            )
        raise NotRegisteredError("resource", name, map(_name, self._configured))

    def __contains__(self, kind: object) -> bool:
        return kind in (self._overrides[-1] if self._overrides else self._configured)

    def list_failed(self) -> list[FailedResource]:
        """Return what could not be set up, in the order of the configuration."""
        if self._overrides:
            return []
        return [self._failed[kind] for kind in self._configured if kind in self._failed]

    def override(self, values: Mapping[type, object]) -> AbstractContextManager[None]:
        """
        Put these values in the place of all resources and failures, at once.

        Leaving it as a context manager takes them away again. Values given here are never torn
        down; what they stand in for still is, when the application closes.
        """
        override = dict(values)
        self._overrides = [*self._overrides, override]

        @contextmanager
        def until_left() -> Iterator[None]:
            try:
                yield
            finally:
                self._overrides = [kept for kept in self._overrides if kept is not override]

        return until_left()

    async def health(self) -> Mapping[type, Health]:
        """
        Ask every configured resource whether it works.

        One that has no value, raises, or does not answer is unhealthy.
        """
        states = await asyncio.gather(*map(self._health, self._configured.values()))
        return dict(zip(self._configured, states, strict=True))

    async def _set_up(self, entry: _Configured) -> None:
        try:
            config = MappingProxyType(
                {key: self._filled_in(value) for key, value in entry.config.items()}
            )
            self._owned[entry.kind] = await entry.resource.setup(config)
        except Exception as error:
            reason = reason_text(error)
            self._failed[entry.kind] = FailedResource(entry.name, entry.kind, reason)
            _log.error("resource %s could not be set up: %s", entry.name, reason, exc_info=error)
            self._telemetry.execute(
                "resources.setup_failed",
                {},
                {
                    "name": entry.name,
                    "resource": type(entry.resource).__qualname__,
                    "reason": reason,
                },
            )

    async def _health(self, entry: _Configured) -> Health:
        if entry.kind not in self._owned:
            failure = self._failed.get(entry.kind)
            return Health.unhealthy(failure.reason if failure else "it is not set up")
        resource, value = entry.resource, self._owned[entry.kind]
        return await answer_to(lambda: resource.health_check(value))

    def _filled_in(self, value: object) -> object:
        if isinstance(value, Env):
            return value.look_up(self._environ)
        if isinstance(value, Mapping):
            return {key: self._filled_in(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled_in(item) for item in value]
        return value


def _configured(kind: type, entry: object) -> _Configured:
    resource, config = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, {})
    if isinstance(resource, type) and issubclass(resource, Resource):
        resource = resource()
    if not isinstance(kind, type):
        raise InvalidOptionError(
            f"resources: {kind!r} must be the type that Requires() asks for: "
            "resources={Shop: ...}"
        )
    if not isinstance(resource, Resource):
        name = kind.__qualname__
        raise InvalidOptionError(
            f"resources: {name} must be given as a Resource, whose setup() returns the {name}, or "
            f"as (Resource, config), not as a {type(entry).__qualname__}. Write\n"
            f"    class {name}Resource(Resource[{name}]):\n"
            f"        async def setup(self, config): return {name}(...)"
        )
    if not isinstance(config, Mapping):
        raise InvalidOptionError(
            f"resources: the configuration of {_name(kind)} must be a mapping, "
            f"not a {type(config).__qualname__}"
        )
    check_implementation(resource, Resource, subject=f"resource {_name(kind)}")
    return _Configured(_name(kind), kind, resource, config)


def _name(kind: object) -> str:
    return kind.__qualname__ if isinstance(kind, type) else repr(kind)
