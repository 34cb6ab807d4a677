"""Time that passes at once, in memory and on Postgres."""

import asyncio
from datetime import timedelta

from flowstone.core import duration
from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import Store
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.testing.owned_clock import OwnedClock


async def advance(app: FlowStone, by: timedelta | str | float) -> None:
    """
    Let time pass in what the application stores, and have it look what is due now.

    In memory its clock is moved on. On Postgres, whose clock is nobody's to move, every instant
    that is stored moves into the past. Workers that live do not notice. The machine's own time goes
    on as it did, so that what a body does with ``asyncio.sleep`` or ``timeout=`` is not hastened.

    Raises:
        InvalidOptionError: The clock is not the test's own, or the database is not marked as being
            for tests (see `mark_as_test`): time is never moved under a production's work.
    """
    delta = duration.parse(by, option="by")
    store = app.store
    if isinstance(store, MemoryStore):
        _owned(store).advance(delta)
    else:
        dsn, schema = place_of(store)
        from flowstone.engine import moving_time

        await moving_time.advance(dsn, schema, delta)
    store.wakeups.publish_all()


async def check_owned(store: Store) -> None:
    """Refuse, as `advance` does, a database that is not marked as being for tests."""
    if not isinstance(store, MemoryStore):
        from flowstone.engine import moving_time

        await moving_time.check_mark(*place_of(store))


async def lapse(store: Store, worker_id: int) -> None:
    """End a worker's lease now; refuses what `advance` refuses."""
    if isinstance(store, MemoryStore):
        store.lapse(worker_id)
    else:
        from flowstone.engine import moving_time

        await moving_time.lapse(*place_of(store), worker_id)


async def mark_as_test(dsn: str, *, schema: str = "flowstone") -> None:
    """
    Say that a migrated schema holds nothing but what tests put there.

    It is a comment on the schema. What the fixtures of the pytest plugin make is marked already.

    Raises:
        DatabaseError: There is no such schema, or it is another role's.
    """
    from flowstone.engine.disposable_databases import mark_as_test as mark

    await asyncio.to_thread(mark, dsn, schema=schema)


def place_of(store: Store) -> tuple[str, str]:
    """
    Return the DSN and the schema of a store on Postgres.

    Raises:
        InvalidOptionError: It is another one, whose time cannot be moved.
    """
    from flowstone.engine.store import PostgresStore

    if isinstance(store, PostgresStore):
        return store.dsn, store.schema
    raise InvalidOptionError(
        f"the time of a {type(store).__qualname__} cannot be moved: only that of a store in memory "
        "and of one on Postgres can"
    )


def _owned(store: MemoryStore) -> OwnedClock:
    if isinstance(store.clock, OwnedClock):
        return store.clock
    raise InvalidOptionError(
        f"the clock of this application is a {type(store.clock).__qualname__}, not the test's own; "
        "take the one that the fixture flowstone_app returns, or flowstone.testing.memory_app(app)"
    )
