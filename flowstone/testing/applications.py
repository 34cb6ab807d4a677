"""Applications for one test: over one store in memory, or in one database."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowstone.core.application import FlowStone
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.pipeline import Pipeline
from flowstone.testing.owned_clock import OwnedClock

if TYPE_CHECKING:
    from flowstone.engine.disposable_databases import DisposableDatabase


class Applications(ABC):
    """Makes applications that share what is stored; the fixture ``flowstone_app`` is one."""

    def __call__(
        self, given: FlowStone | Pipeline | Iterable[Pipeline], /, **options: Any
    ) -> FlowStone:
        """
        Return an application for this test, to be opened with ``async with``.

        Args:
            given: One of yours, which is left as it is: the test's has its resources, IO managers
                and plugins; or pipelines.
            options: With pipelines: what `FlowStone` takes, but where it stores.
        """
        app = given if isinstance(given, FlowStone) else FlowStone(given, **options)
        if app is given and options:
            raise TypeError(f"{', '.join(options)}: an application has its options already")
        return self._placed(app)

    @abstractmethod
    def _placed(self, app: FlowStone) -> FlowStone: ...


class InMemory(Applications):
    """Applications in memory, whose time `flowstone.testing.advance` moves."""

    def __init__(self) -> None:
        self._store = MemoryStore(OwnedClock())

    def _placed(self, app: FlowStone) -> FlowStone:
        return app.with_store(self._store)


class OnPostgres(Applications):
    """Applications in the database of one test."""

    def __init__(self, database: "DisposableDatabase") -> None:
        self._database = database

    def _placed(self, app: FlowStone) -> FlowStone:
        dsn = self._database.prepared(app.schema, app.tables)
        return app.with_dsn(dsn)
