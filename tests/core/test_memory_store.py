"""The memory store keeps the store's contract; and what is its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings, strategies

from flowstone.core.contracts.store import NewRun, Store
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.testing.contracts.store_contract import StoreContract
from flowstone.testing.contracts.store_scenario import play


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


class TestWhateverHappens:
    @given(randomness=strategies.randoms(use_true_random=False))
    @settings(max_examples=100, deadline=None)
    def test_the_rows_add_up_and_every_run_ends(self, randomness: Random) -> None:
        clock = SetClock()

        async def advance(delta: timedelta) -> None:
            clock.instant += delta

        asyncio.run(play(MemoryStore(clock), advance, randomness, moves=60))


class TestSuite:
    def test_no_claim_of_the_suite_hides_another(self) -> None:
        parts = [part for part in StoreContract.__mro__ if part is not StoreContract]
        names = Counter(name for part in parts for name in vars(part) if name.startswith("test_"))

        assert [name for name, count in names.items() if count > 1] == []


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
