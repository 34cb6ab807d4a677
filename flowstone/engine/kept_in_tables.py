"""What coordinators have in common that keep their state in tables beside the engine's."""

from collections.abc import Sequence

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.host import Host
from flowstone.core.errors import NotOpenError, RegistrationError
from flowstone.engine.rows import Row
from flowstone.engine.store import PostgresStore


class KeptInTables(Coordinator):
    """
    Asks SQL functions of the application's schema, on the connections of its store.

    It comes before the contract among a class's bases.
    """

    _opened: PostgresStore | None = None

    async def open(self, app: Host) -> None:
        """
        Use the application's store.

        Raises:
            RegistrationError: That is no store on Postgres.
        """
        await super().open(app)
        if not isinstance(app.store, PostgresStore):
            raise RegistrationError(
                f"{type(self).__qualname__} keeps its state in Postgres, beside a PostgresStore, "
                f"and not beside a {type(app.store).__qualname__}; FlowStone(coordinators={{…}}) "
                "puts another one in its place"
            )
        self._opened = app.store

    @property
    def _store(self) -> PostgresStore:
        if self._opened is None:
            raise NotOpenError
        return self._opened

    async def _ask(
        self, function: str, types: Sequence[str], *asked: object
    ) -> Sequence[Row | None]:
        """
        Call a function about many; its last argument is whether it waits for locks.

        Its rows have an ``answer``; None stands for one that is ``busy``, as `Together` has it.
        """
        found = await self._store.call(function, (*types, "boolean"), *asked)
        return [None if row["answer"] == "busy" else row for row in found]
