"""The memory store keeps the store's contract; and what is its own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from flowstone.core.contracts.store import NewRun, Store
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.testing.contracts.store_contract import StoreContract


class SetClock:
    """Tells the time that a test has set."""

    def __init__(self) -> None:
        self.instant = datetime(2024, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def clock(self) -> SetClock:
        return SetClock()

    @pytest.fixture
    async def store(self, clock: SetClock) -> AsyncIterator[MemoryStore]:
        store = MemoryStore(clock)
        self.clock_of_store = clock
        await store.open()
        yield store
        await store.close()

    async def advance(self, store: Store, delta: timedelta) -> None:
        self.clock_of_store.instant += delta


class TestInMemory:
    async def test_nobody_else_sees_it(self) -> None:
        assert not MemoryStore().is_durable

    async def test_a_connection_is_refused_by_name(self) -> None:
        store = MemoryStore()
        empty = NewRun(targets=[], steps=[], reused=[])

        with pytest.raises(InvalidOptionError, match="conn"):
            await store.create_run(empty, conn=object())
        with pytest.raises(InvalidOptionError, match="conn"):
            await store.current([], conn=object())

        assert list(await store.runs()) == []

    async def test_without_a_clock_it_tells_the_real_time(self) -> None:
        store = MemoryStore()
        before = datetime.now(UTC)

        created = await store.create_run(NewRun(targets=[], steps=[], reused=[]))

        record = await store.run(created.run_id)
        assert before <= record.created_at <= datetime.now(UTC)
